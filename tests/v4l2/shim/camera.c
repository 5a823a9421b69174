/* A capture device: formats, sizes and rates, memory-mapped streaming, and the faults of `enum camera_state`. */
#include "shim.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct camera_control *control_of(struct handle *handle) { return handle->control; }

static struct camera_mode *mode_of(struct handle *handle) { return &control_of(handle)->modes[handle->mode]; }

static uint32_t state_of(struct handle *handle) { return *(volatile uint32_t *)&control_of(handle)->state; }

static int64_t interval_ns(struct handle *handle)
{
	uint32_t slowdown = *(volatile uint32_t *)&control_of(handle)->slowdown;
	return 1000000000LL / handle->rate * (slowdown ? slowdown : 1);
}

int camera_open(struct handle *handle)
{
	handle->control = map_control(handle->device->file, CAMERA_HEADER, &handle->control_bytes);
	if (!handle->control)
		return fail(ENOENT);
	struct camera_control *control = control_of(handle);
	uint32_t state = state_of(handle);
	if (state == CAMERA_UNPLUGGED || state == CAMERA_FORBIDDEN || !control->mode_count) {
		munmap(handle->control, handle->control_bytes);
		return fail(state == CAMERA_FORBIDDEN ? EACCES : ENOENT);
	}
	long page = sysconf(_SC_PAGESIZE);
	size_t largest = 0;
	for (uint32_t i = 0; i < control->mode_count && i < MAX_MODES; i++)
		if (control->modes[i].capacity > largest)
			largest = control->modes[i].capacity;
	handle->buffer_bytes = (largest + page - 1) / page * page;
	handle->rate = control->modes[0].rates[0];

	int descriptor = memfd_create("fake-camera", MFD_CLOEXEC);
	size_t all = handle->buffer_bytes * MAX_BUFFERS;
	if (descriptor < 0 || ftruncate(descriptor, (off_t)all) < 0)
		abort();
	handle->pictures = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (handle->pictures == MAP_FAILED)
		abort();
	return descriptor;
}

static void stop(struct handle *handle)
{
	if (handle->streaming)
		__atomic_sub_fetch(&control_of(handle)->streaming, 1, __ATOMIC_SEQ_CST);
	handle->streaming = false;
	handle->queued = 0;
}

void camera_close(struct handle *handle)
{
	stop(handle);
	munmap(handle->pictures, handle->buffer_bytes * MAX_BUFFERS);
	munmap(handle->control, handle->control_bytes);
}

static void describe(struct handle *handle, uint32_t mode, struct v4l2_pix_format *format)
{
	struct camera_control *control = control_of(handle);
	struct camera_mode *chosen = &control->modes[mode];
	memset(format, 0, sizeof *format);
	format->width = chosen->width;
	format->height = chosen->height;
	format->pixelformat = chosen->fourcc;
	format->field = V4L2_FIELD_NONE;
	format->bytesperline = chosen->fourcc == V4L2_PIX_FMT_MJPEG ? 0 : chosen->width * 2;
	format->sizeimage = chosen->capacity;
	format->colorspace = control->colorspace;
	format->quantization = control->quantization;
	format->ycbcr_enc = control->ycbcr_enc;
	format->priv = V4L2_PIX_FMT_PRIV_MAGIC;
}

/* The mode nearest to what was asked for: the same format if there is one, then the nearest number of pixels. */
static uint32_t nearest(struct handle *handle, const struct v4l2_pix_format *wanted)
{
	struct camera_control *control = control_of(handle);
	uint32_t best = 0;
	int64_t best_distance = INT64_MAX;
	for (uint32_t i = 0; i < control->mode_count; i++) {
		struct camera_mode *mode = &control->modes[i];
		int64_t distance = llabs((int64_t)mode->width * mode->height - (int64_t)wanted->width * wanted->height);
		if (mode->fourcc != wanted->pixelformat)
			distance += 1LL << 40;
		if (distance < best_distance) {
			best = i;
			best_distance = distance;
		}
	}
	return best;
}

static int set_format(struct handle *handle, unsigned long request, struct v4l2_format *format)
{
	if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	uint32_t mode = request == VIDIOC_G_FMT ? handle->mode : nearest(handle, &format->fmt.pix);
	if (request == VIDIOC_S_FMT) {
		if (state_of(handle) == CAMERA_BUSY || handle->buffer_count)
			return fail(EBUSY);
		handle->mode = control_of(handle)->active_mode = mode;
		handle->rate = mode_of(handle)->rates[0];
	}
	describe(handle, mode, &format->fmt.pix);
	return 0;
}

static int list_formats(struct handle *handle, struct v4l2_fmtdesc *format)
{
	struct camera_control *control = control_of(handle);
	uint32_t wanted = format->index;
	if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	for (uint32_t i = 0, distinct = 0; i < control->mode_count; i++) {
		bool seen = false;
		for (uint32_t j = 0; j < i; j++)
			seen |= control->modes[j].fourcc == control->modes[i].fourcc;
		if (seen || distinct++ != wanted)
			continue;
		format->pixelformat = control->modes[i].fourcc;
		format->flags = format->pixelformat == V4L2_PIX_FMT_MJPEG ? V4L2_FMT_FLAG_COMPRESSED : 0;
		memcpy(format->description, &format->pixelformat, 4);
		return 0;
	}
	return fail(EINVAL);
}

static int list_sizes(struct handle *handle, struct v4l2_frmsizeenum *size)
{
	struct camera_control *control = control_of(handle);
	for (uint32_t i = 0, found = 0; i < control->mode_count; i++) {
		if (control->modes[i].fourcc != size->pixel_format || found++ != size->index)
			continue;
		size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
		size->discrete.width = control->modes[i].width;
		size->discrete.height = control->modes[i].height;
		return 0;
	}
	return fail(EINVAL);
}

static int list_rates(struct handle *handle, struct v4l2_frmivalenum *rate)
{
	struct camera_control *control = control_of(handle);
	for (uint32_t i = 0; i < control->mode_count; i++) {
		struct camera_mode *mode = &control->modes[i];
		if (mode->fourcc != rate->pixel_format || mode->width != rate->width || mode->height != rate->height)
			continue;
		if (rate->index >= mode->rate_count)
			return fail(EINVAL);
		rate->type = V4L2_FRMIVAL_TYPE_DISCRETE;
		rate->discrete.numerator = 1;
		rate->discrete.denominator = mode->rates[rate->index];
		return 0;
	}
	return fail(EINVAL);
}

static int set_rate(struct handle *handle, unsigned long request, struct v4l2_streamparm *parameters)
{
	struct v4l2_captureparm *capture = &parameters->parm.capture;
	if (parameters->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	if (request == VIDIOC_S_PARM && capture->timeperframe.numerator) {
		double wanted = (double)capture->timeperframe.denominator / capture->timeperframe.numerator;
		struct camera_mode *mode = mode_of(handle);
		double best = 1e9;
		for (uint32_t i = 0; i < mode->rate_count; i++) {
			double distance = wanted > mode->rates[i] ? wanted - mode->rates[i] : mode->rates[i] - wanted;
			if (distance < best) {
				best = distance;
				handle->rate = mode->rates[i];
			}
		}
	}
	memset(capture, 0, sizeof *capture);
	capture->capability = V4L2_CAP_TIMEPERFRAME;
	capture->timeperframe.numerator = 1;
	capture->timeperframe.denominator = handle->rate;
	return 0;
}

static void describe_buffer(struct handle *handle, struct v4l2_buffer *buffer, uint32_t index)
{
	buffer->index = index;
	buffer->memory = V4L2_MEMORY_MMAP;
	buffer->length = handle->buffer_bytes;
	buffer->m.offset = index * handle->buffer_bytes;
	buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	for (uint32_t i = 0; i < handle->queued; i++)
		if (handle->queue[i] == index)
			buffer->flags |= V4L2_BUF_FLAG_QUEUED;
}

/* Copies the picture that the test painted, whole: the sequence is odd while it paints. */
static uint32_t take_picture(struct handle *handle, uint8_t *into)
{
	struct camera_mode *mode = mode_of(handle);
	uint32_t used = 0;
	for (int attempt = 0; attempt < 1000; attempt++) {
		uint32_t before = __atomic_load_n(&mode->sequence, __ATOMIC_ACQUIRE);
		if (before % 2 == 0) {
			used = mode->used < mode->capacity ? mode->used : mode->capacity;
			memcpy(into, (uint8_t *)handle->control + mode->offset, used);
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			if (__atomic_load_n(&mode->sequence, __ATOMIC_ACQUIRE) == before)
				break;
		}
		struct timespec pause = {0, 50000};
		nanosleep(&pause, NULL);
	}
	return used;
}

static int dequeue(struct handle *handle, struct v4l2_buffer *buffer)
{
	if (!handle->streaming || buffer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	while (true) {
		uint32_t state = state_of(handle);
		if (state == CAMERA_UNPLUGGED)
			return fail(ENODEV);
		if (!handle->streaming)
			return fail(EINVAL);
		bool ready = state != CAMERA_SILENT && handle->queued && now_ns() >= handle->next_ns;
		if (ready && state != CAMERA_WEDGED)
			break;
		if (handle->nonblocking && state != CAMERA_WEDGED)
			return fail(EAGAIN);
		int64_t wait = handle->next_ns - now_ns();
		struct timespec pause = {0, wait > 0 && wait < 5000000 ? wait : 5000000};
		unlock();
		nanosleep(&pause, NULL);
		lock();
	}
	int64_t interval = interval_ns(handle), late = (now_ns() - handle->next_ns) / interval;
	int64_t taken_ns = handle->next_ns + late * interval;
	handle->sequence += 1 + late;
	handle->next_ns = taken_ns + interval;

	uint32_t index = handle->queue[0];
	memmove(handle->queue, handle->queue + 1, --handle->queued * sizeof handle->queue[0]);
	describe_buffer(handle, buffer, index);
	buffer->bytesused = take_picture(handle, handle->pictures + index * handle->buffer_bytes);
	buffer->flags |= V4L2_BUF_FLAG_DONE;
	buffer->field = V4L2_FIELD_NONE;
	buffer->sequence = handle->sequence;
	buffer->timestamp.tv_sec = taken_ns / 1000000000;
	buffer->timestamp.tv_usec = taken_ns % 1000000000 / 1000;
	__atomic_add_fetch(&control_of(handle)->delivered, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static int stream_on(struct handle *handle)
{
	if (state_of(handle) == CAMERA_BUSY)
		return fail(EBUSY);
	if (!handle->buffer_count)
		return fail(EINVAL);
	if (!handle->streaming)
		__atomic_add_fetch(&control_of(handle)->streaming, 1, __ATOMIC_SEQ_CST);
	handle->streaming = true;
	handle->sequence = 0;
	handle->next_ns = now_ns() + interval_ns(handle);
	return 0;
}

static int request_buffers(struct handle *handle, struct v4l2_requestbuffers *request)
{
	if (request->memory != V4L2_MEMORY_MMAP || request->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	if (state_of(handle) == CAMERA_BUSY)
		return fail(EBUSY);
	if (request->count > MAX_BUFFERS)
		request->count = MAX_BUFFERS;
	stop(handle);
	handle->buffer_count = request->count;
	request->capabilities = V4L2_BUF_CAP_SUPPORTS_MMAP;
	return 0;
}

static int queue(struct handle *handle, struct v4l2_buffer *buffer)
{
	if (buffer->index >= handle->buffer_count || handle->queued >= MAX_BUFFERS)
		return fail(EINVAL);
	for (uint32_t i = 0; i < handle->queued; i++)
		if (handle->queue[i] == buffer->index)
			return fail(EINVAL);
	handle->queue[handle->queued++] = buffer->index;
	describe_buffer(handle, buffer, buffer->index);
	return 0;
}

static int capabilities(struct handle *handle, struct v4l2_capability *capability)
{
	memset(capability, 0, sizeof *capability);
	strcpy((char *)capability->driver, "fakecamera");
	memcpy(capability->card, control_of(handle)->name, sizeof capability->card - 1);
	strcpy((char *)capability->bus_info, "platform:fake-camera");
	capability->version = 0x060100;
	capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING | V4L2_CAP_EXT_PIX_FORMAT;
	capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
	return 0;
}

static int describe_input(struct v4l2_input *input)
{
	if (input->index)
		return fail(EINVAL);
	memset(input, 0, sizeof *input);
	strcpy((char *)input->name, "Camera 1");
	input->type = V4L2_INPUT_TYPE_CAMERA;
	return 0;
}

int camera_ioctl(struct handle *handle, unsigned long request, void *argument)
{
	if (state_of(handle) == CAMERA_UNPLUGGED)
		return fail(ENODEV);
	switch (request) {
	case VIDIOC_QUERYCAP: return capabilities(handle, argument);
	case VIDIOC_ENUM_FMT: return list_formats(handle, argument);
	case VIDIOC_ENUM_FRAMESIZES: return list_sizes(handle, argument);
	case VIDIOC_ENUM_FRAMEINTERVALS: return list_rates(handle, argument);
	case VIDIOC_G_FMT:
	case VIDIOC_S_FMT:
	case VIDIOC_TRY_FMT: return set_format(handle, request, argument);
	case VIDIOC_G_PARM:
	case VIDIOC_S_PARM: return set_rate(handle, request, argument);
	case VIDIOC_ENUMINPUT: return describe_input(argument);
	case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
	case VIDIOC_S_INPUT: return *(int *)argument ? fail(EINVAL) : 0;
	case VIDIOC_REQBUFS: return request_buffers(handle, argument);
	case VIDIOC_QUERYBUF: {
		struct v4l2_buffer *buffer = argument;
		if (buffer->index >= handle->buffer_count)
			return fail(EINVAL);
		describe_buffer(handle, buffer, buffer->index);
		return 0;
	}
	case VIDIOC_QBUF: return queue(handle, argument);
	case VIDIOC_DQBUF: return dequeue(handle, argument);
	case VIDIOC_STREAMON: return stream_on(handle);
	case VIDIOC_STREAMOFF: stop(handle); return 0;
	default: return fail(ENOTTY);
	}
}

short camera_events(struct handle *handle)
{
	uint32_t state = state_of(handle);
	if (state == CAMERA_UNPLUGGED || !handle->streaming)
		return POLLERR | (state == CAMERA_UNPLUGGED ? POLLHUP : 0);
	if (state == CAMERA_WEDGED)
		return POLLIN | POLLRDNORM;
	bool ready = state != CAMERA_SILENT && handle->queued && now_ns() >= handle->next_ns;
	return ready ? POLLIN | POLLRDNORM : 0;
}

int64_t camera_next_ns(struct handle *handle) { return handle->next_ns; }
