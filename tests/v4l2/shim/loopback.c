/* A v4l2loopback device, producer's side. Each picture written replaces the one in FILE.y4m, which Chromium's
 * --use-file-for-fake-video-capture reads anew for each frame.
 *
 * Version 0.12.7 with exclusive_caps=1 (`sticky`): the driver does not take write() for streaming, so once such a
 * producer has gone the device announces neither input nor output and nobody can open it as one, until STREAMON is
 * asked of it (which answers EINVAL and heals it all the same), or a descriptor that did ask closes after it.
 *
 * Version 0.14 and later (`has_tokens`): who writes has the output's format for itself. With the control "keep_format"
 * on, the device announces capture whether or not anybody writes, and its format cannot be changed. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* v4l2loopback.h, 0.13 and later */
#define CLIENT_USAGE_EVENT (V4L2_EVENT_PRIVATE_START + 0x08E00000 + 1)
#define KEEP_FORMAT (V4L2_CID_USER_BASE | 0xf000)

static struct loopback_control *control_of(struct handle *handle) { return handle->control; }

static uint32_t state_of(struct handle *handle) { return *(volatile uint32_t *)&control_of(handle)->state; }

static bool is_gone(int32_t process) { return process && kill(process, 0) < 0 && errno == ESRCH; }

/* What the kernel does by itself when a process dies: its descriptors close, the writing one before the guard. */
static void notice_deaths(struct loopback_control *control)
{
	if (is_gone(control->producer)) {
		control->caps_gone = control->sticky && control->guard != control->producer;
		control->producer = 0;
	}
	if (is_gone(control->guard))
		control->guard = 0;
}

int loopback_open(struct handle *handle)
{
	char file[sizeof handle->device->file + 16];
	snprintf(file, sizeof file, "%s.control", handle->device->file);
	handle->control = map_control(file, sizeof(struct loopback_control), &handle->control_bytes);
	if (!handle->control)
		return fail(ENOENT);
	uint32_t state = state_of(handle);
	if (state == LOOPBACK_REMOVED || state == LOOPBACK_FORBIDDEN) {
		munmap(handle->control, handle->control_bytes);
		return fail(state == LOOPBACK_FORBIDDEN ? EACCES : ENOENT);
	}
	notice_deaths(control_of(handle));
	handle->y4m = -1;
	return memfd_create("fake-loopback", MFD_CLOEXEC);
}

void loopback_close(struct handle *handle)
{
	struct loopback_control *control = control_of(handle);
	if (handle->wrote) {
		control->producer = 0;
		control->caps_gone = control->sticky;
	}
	if (handle->streamed_on) {
		control->guard = 0;
		control->caps_gone = 0;
	}
	if (handle->y4m >= 0)
		real_close(handle->y4m);
	munmap(control, handle->control_bytes);
}

static int header(struct handle *handle, char *text, size_t bytes)
{
	struct loopback_control *control = control_of(handle);
	return snprintf(text, bytes, "YUV4MPEG2 W%u H%u F30:1 Ip A1:1 C420jpeg\nFRAME\n", control->width, control->height);
}

ssize_t loopback_write(struct handle *handle, const void *picture, size_t bytes)
{
	struct loopback_control *control = control_of(handle);
	char text[96];
	int length = header(handle, text, sizeof text);
	if (state_of(handle) == LOOPBACK_REMOVED)
		return fail(ENODEV);
	if (state_of(handle) == LOOPBACK_FAILS)
		return fail(EIO);
	if (!control->width || bytes > (size_t)control->width * control->height * 3 / 2)
		return fail(EINVAL);
	if (handle->y4m < 0) {
		handle->y4m = real_open(handle->device->file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (handle->y4m < 0 || ftruncate(handle->y4m, length + control->width * control->height * 3 / 2) < 0 ||
		    pwrite(handle->y4m, text, length, 0) < 0)
			return fail(EIO);
	}
	handle->wrote = true;
	control->producer = getpid();
	if (pwrite(handle->y4m, picture, bytes, length) < 0)
		return fail(EIO);
	__atomic_add_fetch(&control->frames, 1, __ATOMIC_SEQ_CST);
	return (ssize_t)bytes;
}

static int capabilities(struct handle *handle, struct v4l2_capability *capability)
{
	struct loopback_control *control = control_of(handle);
	notice_deaths(control);
	memset(capability, 0, sizeof *capability);
	strcpy((char *)capability->driver, "v4l2 loopback");
	memcpy(capability->card, control->name, sizeof capability->card - 1);
	snprintf((char *)capability->bus_info, sizeof capability->bus_info, "platform:v4l2loopback-000");
	capability->version = control->version;
	capability->device_caps = V4L2_CAP_STREAMING | V4L2_CAP_READWRITE | V4L2_CAP_EXT_PIX_FORMAT;
	if (!control->caps_gone)
		capability->device_caps |=
			control->producer || control->keep_format ? V4L2_CAP_VIDEO_CAPTURE : V4L2_CAP_VIDEO_OUTPUT;
	capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
	return 0;
}

static int set_format(struct handle *handle, unsigned long request, struct v4l2_format *format)
{
	struct loopback_control *control = control_of(handle);
	struct v4l2_pix_format *pixels = &format->fmt.pix;
	bool is_anothers = control->has_tokens && control->producer && control->producer != getpid();
	if (format->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return fail(EINVAL);
	if (is_anothers && request != VIDIOC_TRY_FMT)
		return fail(request == VIDIOC_S_FMT ? EBUSY : EINVAL);
	if (request == VIDIOC_G_FMT || control->keep_format) {
		pixels->width = control->width;
		pixels->height = control->height;
		pixels->pixelformat = V4L2_PIX_FMT_YUV420;
	} else if (pixels->pixelformat != V4L2_PIX_FMT_YUV420) {
		return fail(EINVAL);
	}
	if (request == VIDIOC_S_FMT) {
		if (state_of(handle) == LOOPBACK_BUSY)
			return fail(EBUSY);
		control->width = pixels->width;
		control->height = pixels->height;
	}
	pixels->field = V4L2_FIELD_NONE;
	pixels->bytesperline = pixels->width;
	pixels->sizeimage = pixels->width * pixels->height * 3 / 2;
	return 0;
}

static int get_or_set_control(struct handle *handle, unsigned long request, struct v4l2_control *asked)
{
	struct loopback_control *control = control_of(handle);
	if (!control->has_tokens || asked->id != KEEP_FORMAT)
		return fail(EINVAL);
	if (request == VIDIOC_S_CTRL)
		control->keep_format = asked->value != 0;
	asked->value = control->keep_format;
	return 0;
}

static int next_event(struct handle *handle, struct v4l2_event *event)
{
	struct loopback_control *control = control_of(handle);
	uint32_t consumers = *(volatile uint32_t *)&control->consumers;
	if (!handle->subscribed || consumers == handle->consumers_told)
		return fail(handle->nonblocking ? EAGAIN : ENOENT);
	memset(event, 0, sizeof *event);
	event->type = CLIENT_USAGE_EVENT;
	memcpy(event->u.data, &consumers, sizeof consumers);
	handle->consumers_told = consumers;
	return 0;
}

static int subscribe(struct handle *handle, const struct v4l2_event_subscription *subscription)
{
	if (!control_of(handle)->usage_events || subscription->type != CLIENT_USAGE_EVENT)
		return fail(control_of(handle)->usage_events ? EINVAL : ENOTTY);
	handle->subscribed = true;
	bool tell_now = subscription->flags & V4L2_EVENT_SUB_FL_SEND_INITIAL;
	handle->consumers_told = tell_now ? UINT32_MAX : control_of(handle)->consumers;
	return 0;
}

int loopback_ioctl(struct handle *handle, unsigned long request, void *argument)
{
	struct loopback_control *control = control_of(handle);
	if (state_of(handle) == LOOPBACK_REMOVED)
		return fail(ENODEV);
	switch (request) {
	case VIDIOC_QUERYCAP: return capabilities(handle, argument);
	case VIDIOC_G_FMT:
	case VIDIOC_S_FMT:
	case VIDIOC_TRY_FMT: return set_format(handle, request, argument);
	case VIDIOC_G_CTRL:
	case VIDIOC_S_CTRL: return get_or_set_control(handle, request, argument);
	case VIDIOC_SUBSCRIBE_EVENT: return subscribe(handle, argument);
	case VIDIOC_DQEVENT: return next_event(handle, argument);
	case VIDIOC_STREAMON:
		handle->streamed_on = true;
		control->guard = getpid();
		control->caps_gone = 0;
		return fail(EINVAL);
	default: return fail(ENOTTY);
	}
}

short loopback_events(struct handle *handle)
{
	uint32_t consumers = *(volatile uint32_t *)&control_of(handle)->consumers;
	if (state_of(handle) == LOOPBACK_REMOVED)
		return POLLERR | POLLHUP;
	return POLLOUT | POLLWRNORM | (handle->subscribed && consumers != handle->consumers_told ? POLLPRI : 0);
}
