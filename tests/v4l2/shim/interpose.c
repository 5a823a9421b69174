/* The functions of the C library that are answered here when they concern a device of FAKE_V4L2. */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEVICES 16
#define MAX_DESCRIPTORS 4096
#define SLICE_NS 5000000 /* how soon a wait sees what the test changed */

static struct device devices[MAX_DEVICES];
static int device_count;
static struct handle *handles[MAX_DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int (*next_open)(const char *, int, ...);
static int (*next_close)(int);
static int (*next_ioctl)(int, unsigned long, ...);
static ssize_t (*next_write)(int, const void *, size_t);
static int (*next_poll)(struct pollfd *, nfds_t, int);
static int (*next_select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);

static void set_up(void)
{
	next_open = dlsym(RTLD_NEXT, "open64");
	next_close = dlsym(RTLD_NEXT, "close");
	next_ioctl = dlsym(RTLD_NEXT, "ioctl");
	next_write = dlsym(RTLD_NEXT, "write");
	next_poll = dlsym(RTLD_NEXT, "poll");
	next_select = dlsym(RTLD_NEXT, "select");
	const char *text = getenv("FAKE_V4L2");
	char *copy = text ? strdup(text) : NULL, *rest = NULL;
	for (char *one = copy ? strtok_r(copy, ";", &rest) : NULL; one; one = strtok_r(NULL, ";", &rest)) {
		char kind[16];
		struct device *device = &devices[device_count];
		if (device_count == MAX_DEVICES || sscanf(one, "%255[^=]=%15[^:]:%255s", device->path, kind, device->file) != 3) {
			fprintf(stderr, "fake_v4l2: cannot take %s of FAKE_V4L2\n", one);
			abort();
		}
		device->is_camera = !strcmp(kind, "camera");
		device_count++;
	}
	free(copy);
}

void lock(void) { pthread_mutex_lock(&mutex); }

void unlock(void) { pthread_mutex_unlock(&mutex); }

int fail(int error)
{
	errno = error;
	return -1;
}

int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int real_open(const char *path, int flags, int mode) { return next_open(path, flags, mode); }

int real_close(int descriptor) { return next_close(descriptor); }

void *map_control(const char *file, size_t least_bytes, size_t *bytes)
{
	struct stat status;
	int descriptor = real_open(file, O_RDWR | O_CLOEXEC, 0);
	if (descriptor < 0)
		return NULL;
	void *mapped = NULL;
	if (!fstat(descriptor, &status) && (size_t)status.st_size >= least_bytes) {
		*bytes = (size_t)status.st_size;
		mapped = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	}
	real_close(descriptor);
	return mapped == MAP_FAILED ? NULL : mapped;
}

static struct device *device_at(const char *path)
{
	for (int i = 0; path && i < device_count; i++)
		if (!strcmp(path, devices[i].path))
			return &devices[i];
	return NULL;
}

static struct handle *handle_of(int descriptor)
{
	return descriptor >= 0 && descriptor < MAX_DESCRIPTORS ? handles[descriptor] : NULL;
}

static int open_device(struct device *device, int flags)
{
	if (strncmp(device->path, "/dev/", 5) && access(device->path, F_OK) < 0)
		return -1;
	struct handle *handle = calloc(1, sizeof *handle);
	if (!handle)
		abort();
	handle->device = device;
	handle->nonblocking = flags & O_NONBLOCK;
	lock();
	int descriptor = device->is_camera ? camera_open(handle) : loopback_open(handle);
	if (descriptor >= MAX_DESCRIPTORS)
		abort();
	if (descriptor < 0)
		free(handle);
	else
		handles[descriptor] = handle;
	unlock();
	return descriptor;
}

#define INTERPOSE_OPEN(name)                                                     \
	int name(const char *path, int flags, ...)                                   \
	{                                                                            \
		mode_t mode = 0;                                                         \
		pthread_once(&once, set_up);                                             \
		if (flags & (O_CREAT | __O_TMPFILE)) {                                   \
			va_list arguments;                                                   \
			va_start(arguments, flags);                                          \
			mode = va_arg(arguments, int);                                       \
			va_end(arguments);                                                   \
		}                                                                        \
		struct device *device = device_at(path);                                 \
		return device ? open_device(device, flags) : next_open(path, flags, mode); \
	}

INTERPOSE_OPEN(open)
INTERPOSE_OPEN(open64)

int close(int descriptor)
{
	pthread_once(&once, set_up);
	lock();
	struct handle *handle = handle_of(descriptor);
	if (handle) {
		handles[descriptor] = NULL;
		/* a call may still wait inside: it would use what is freed here, so a wedged handle is left alone */
		if (!handle->device->is_camera)
			loopback_close(handle);
		else if (((struct camera_control *)handle->control)->state != CAMERA_WEDGED)
			camera_close(handle);
	}
	unlock();
	return next_close(descriptor);
}

int ioctl(int descriptor, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	pthread_once(&once, set_up);
	lock();
	struct handle *handle = handle_of(descriptor);
	if (!handle) {
		unlock();
		return next_ioctl(descriptor, request, argument);
	}
	request = (uint32_t)request; /* Python and some libraries pass it sign-extended */
	int result = handle->device->is_camera ? camera_ioctl(handle, request, argument)
	                                       : loopback_ioctl(handle, request, argument);
	int error = errno;
	unlock();
	errno = error;
	return result;
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
	pthread_once(&once, set_up);
	lock();
	struct handle *handle = handle_of(descriptor);
	if (!handle || handle->device->is_camera) {
		unlock();
		return next_write(descriptor, bytes, count);
	}
	ssize_t written = loopback_write(handle, bytes, count);
	int error = errno;
	unlock();
	errno = error;
	return written;
}

static short events_of(int descriptor)
{
	lock();
	struct handle *handle = handle_of(descriptor);
	short events = !handle ? POLLNVAL : handle->device->is_camera ? camera_events(handle) : loopback_events(handle);
	unlock();
	return events;
}

int poll(struct pollfd *entries, nfds_t count, int timeout_ms)
{
	pthread_once(&once, set_up);
	bool ours = false;
	for (nfds_t i = 0; i < count; i++)
		ours |= handle_of(entries[i].fd) != NULL;
	if (!ours)
		return next_poll(entries, count, timeout_ms);
	struct pollfd *others = calloc(count, sizeof *others);
	bool *is_ours = calloc(count, sizeof *is_ours);
	if (!others || !is_ours)
		abort();
	for (nfds_t i = 0; i < count; i++) {
		is_ours[i] = handle_of(entries[i].fd) != NULL;
		others[i] = entries[i];
		if (is_ours[i])
			others[i].fd = -1; /* the kernel passes over it */
	}
	int64_t end_ns = timeout_ms < 0 ? INT64_MAX : now_ns() + timeout_ms * 1000000LL;
	int ready;
	while (true) {
		ready = next_poll(others, count, 0);
		for (nfds_t i = 0; ready >= 0 && i < count; i++) {
			entries[i].revents = others[i].revents;
			if (!is_ours[i])
				continue;
			entries[i].revents = events_of(entries[i].fd) & (entries[i].events | POLLERR | POLLHUP | POLLNVAL);
			ready += entries[i].revents != 0;
		}
		int64_t left = end_ns - now_ns();
		if (ready || left <= 0)
			break;
		int slice_ms = (int)((left < 2000000 ? left : 2000000) / 1000000);
		ready = next_poll(others, count, slice_ms > 0 ? slice_ms : 1);
		if (ready < 0)
			break;
	}
	int error = errno;
	free(others);
	free(is_ours);
	errno = error;
	return ready;
}

/* In terms of poll, which knows our descriptors; libraries use it with one or two of them. */
int select(int count, fd_set *readable, fd_set *writable, fd_set *urgent, struct timeval *timeout)
{
	pthread_once(&once, set_up);
	struct pollfd entries[FD_SETSIZE];
	nfds_t used = 0;
	bool ours = false;
	for (int i = 0; i < count && i < FD_SETSIZE; i++) {
		short events = (readable && FD_ISSET(i, readable) ? POLLIN : 0) | (writable && FD_ISSET(i, writable) ? POLLOUT : 0) |
		               (urgent && FD_ISSET(i, urgent) ? POLLPRI : 0);
		if (!events)
			continue;
		ours |= handle_of(i) != NULL;
		entries[used++] = (struct pollfd){.fd = i, .events = events};
	}
	if (!ours)
		return next_select(count, readable, writable, urgent, timeout);
	int timeout_ms = timeout ? (int)(timeout->tv_sec * 1000 + (timeout->tv_usec + 999) / 1000) : -1;
	if (poll(entries, used, timeout_ms) < 0)
		return -1;
	int ready = 0;
	for (nfds_t i = 0; i < used; i++) {
		struct { fd_set *set; short asked, told; } kinds[] = {
			{readable, POLLIN, POLLIN | POLLERR | POLLHUP}, {writable, POLLOUT, POLLOUT | POLLERR}, {urgent, POLLPRI, POLLPRI}};
		for (size_t kind = 0; kind < 3; kind++) {
			if (!(entries[i].events & kinds[kind].asked))
				continue;
			if (entries[i].revents & kinds[kind].told)
				ready++;
			else
				FD_CLR(entries[i].fd, kinds[kind].set);
		}
	}
	return ready;
}
