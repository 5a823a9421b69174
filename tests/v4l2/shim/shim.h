/* Cameras and virtual cameras in user space, for tests: preloaded, it answers the V4L2 calls of one process itself.
 *
 *   FAKE_V4L2="/dev/video0=camera:CONTROL;/dev/video10=loopback:LiveComp.y4m" LD_PRELOAD=fake_v4l2.so python ...
 *
 * The test owns the files behind a device, maps them, and changes them at will; tests/v4l2/shim.py is its side. A path
 * outside /dev is a device of a made-up file tree: it can be opened only while something of that name exists.
 *
 * A descriptor is a memfd, so that mmap and close are the real ones; open, close, ioctl, write, poll and select are
 * answered here. What differs from a kernel driver: pictures are copied when they are taken off the queue, so a slow
 * reader loses pictures but never gets old ones; and descriptors neither survive dup nor are known to epoll. */
#ifndef FAKE_V4L2_SHIM_H
#define FAKE_V4L2_SHIM_H

#include <linux/videodev2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_MODES 32
#define MAX_RATES 4
#define MAX_BUFFERS 8
#define CAMERA_HEADER 4096 /* bytes before the first picture of a camera's control file */

enum camera_state {
	CAMERA_UNPLUGGED = 0, /* not there; descriptors that are open give ENODEV */
	CAMERA_THERE = 1,
	CAMERA_SILENT = 2,    /* no pictures: poll and select time out, a blocking DQBUF waits */
	CAMERA_WEDGED = 3,    /* poll says there is a picture, and DQBUF waits for ever, whatever O_NONBLOCK says */
	CAMERA_BUSY = 4,      /* another program streams: EBUSY from S_FMT, REQBUFS and STREAMON */
	CAMERA_FORBIDDEN = 5, /* EACCES from open */
};

struct camera_mode {
	uint32_t fourcc, width, height;
	uint32_t rate_count, rates[MAX_RATES]; /* whole pictures a second, best first */
	uint32_t offset, capacity;             /* where its picture is in the file */
	uint32_t used;                         /* bytes of the picture */
	uint32_t sequence;                     /* odd while the test paints */
};

/* The control file of a camera. The test writes it, except for what is said to be ours. */
struct camera_control {
	uint32_t state, slowdown; /* slowdown 2 = half the rate that was agreed on */
	uint32_t colorspace, quantization, ycbcr_enc;
	uint32_t mode_count;
	uint32_t active_mode; /* ours: what S_FMT chose last */
	uint32_t streaming;   /* ours: how many descriptors stream */
	uint32_t delivered;   /* ours: pictures handed out since the file was made */
	uint32_t reserved[7];
	char name[64];
	struct camera_mode modes[MAX_MODES];
};

enum loopback_state {
	LOOPBACK_REMOVED = 0, /* open gives ENOENT, all else ENODEV */
	LOOPBACK_THERE = 1,
	LOOPBACK_BUSY = 2,  /* EBUSY from S_FMT, as while a consumer holds another size */
	LOOPBACK_FAILS = 3, /* EIO from write */
	LOOPBACK_FORBIDDEN = 4, /* EACCES from open */
};

/* FILE.y4m.control of a virtual camera; FILE.y4m holds the last picture. */
struct loopback_control {
	uint32_t state;
	uint32_t sticky;        /* 1: as v4l2loopback 0.12.7 with exclusive_caps=1, see loopback.c */
	uint32_t usage_events;  /* 1: has the client-usage event, as 0.13 and later */
	uint32_t has_tokens;    /* 1: as 0.14 and later, see loopback.c */
	uint32_t consumers;     /* what that event tells */
	uint32_t version;       /* what QUERYCAP tells, (major << 16) + (minor << 8) + patch */
	uint32_t caps_gone;     /* ours: the fault of 0.12.7 has struck */
	int32_t producer, guard; /* ours: process that writes, and that streamed on; 0 = none. The test may put one here */
	uint32_t keep_format;   /* ours: the control of this name */
	uint32_t width, height; /* ours: what S_FMT agreed on */
	uint64_t frames;        /* ours: pictures written since the file was made */
	char name[32];
};

struct device {
	char path[256], file[256];
	bool is_camera;
};

/* One open descriptor. */
struct handle {
	struct device *device;
	bool nonblocking;
	void *control;          /* the mapped control file */
	size_t control_bytes;
	/* camera */
	uint32_t mode, rate;
	uint8_t *pictures;      /* the memfd: `buffer_count` pictures of `buffer_bytes` */
	size_t buffer_bytes;
	uint32_t buffer_count, queue[MAX_BUFFERS], queued, sequence;
	bool streaming;
	int64_t next_ns;        /* CLOCK_MONOTONIC of the next picture */
	/* virtual camera */
	int y4m;
	bool wrote, streamed_on, subscribed;
	uint32_t consumers_told;
};

int fail(int error); /* sets errno, returns -1 */
int64_t now_ns(void);
int real_open(const char *path, int flags, int mode);
int real_close(int descriptor);
void *map_control(const char *file, size_t least_bytes, size_t *bytes);

/* All return -1 and errno as the system calls do. The caller holds the lock; `camera_ioctl` lets go of it to wait. */
int camera_open(struct handle *handle);
void camera_close(struct handle *handle);
int camera_ioctl(struct handle *handle, unsigned long request, void *argument);
short camera_events(struct handle *handle);
int64_t camera_next_ns(struct handle *handle); /* when `camera_events` may change by itself */

int loopback_open(struct handle *handle);
void loopback_close(struct handle *handle);
int loopback_ioctl(struct handle *handle, unsigned long request, void *argument);
ssize_t loopback_write(struct handle *handle, const void *picture, size_t bytes);
short loopback_events(struct handle *handle);

void lock(void);
void unlock(void);

#endif
