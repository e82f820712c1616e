// SPDX-License-Identifier: GPL-2.0
/*
 * The three virtqueues: requests and their answers, events, doorbells.
 *
 * What the device returns is not trusted: a length is checked before the first
 * field is read, a number before it is an index, and nothing it writes can make
 * the driver free what the device was told it may use.
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "virtio_gpuferry.h"

/**
 * gpuferry_request_release() - free a request
 * @ref: its last reference
 *
 * Context: Any.
 */
static void gpuferry_request_release(struct kref *ref)
{
	struct gpuferry_request *request = container_of(ref, struct gpuferry_request, ref);

	if (request->lease)
		gpuferry_lease_put(request->lease);
	kfree(request);
}

/**
 * gpuferry_request_put() - let go of a request
 * @request: the request, or NULL
 *
 * Context: Any.
 */
void gpuferry_request_put(struct gpuferry_request *request)
{
	if (request)
		kref_put(&request->ref, gpuferry_request_release);
}

/**
 * gpuferry_request_new() - make a request
 * @session: the session; its number must be known
 * @kind: GPUFERRY_REQUEST_*
 *
 * Context: Process.
 * Return: the request with its header filled in, or NULL.
 */
struct gpuferry_request *gpuferry_request_new(struct gpuferry_session *session, u32 kind)
{
	struct gpuferry_request *request = kzalloc(sizeof(*request), GFP_KERNEL_ACCOUNT);

	if (!request)
		return NULL;
	kref_init(&request->ref);
	INIT_LIST_HEAD(&request->backlog);
	init_completion(&request->answered);
	request->session = session;
	request->wire.header.kind = cpu_to_le32(kind);
	request->wire.header.session = cpu_to_le32(session->number);
	switch (kind) {
	case GPUFERRY_REQUEST_OPEN:
		request->bytes = sizeof(request->wire.open);
		break;
	case GPUFERRY_REQUEST_PIN:
		request->bytes = sizeof(request->wire.pin);
		break;
	case GPUFERRY_REQUEST_UNPIN:
		request->bytes = sizeof(request->wire.unpin);
		break;
	default:
		request->bytes = sizeof(request->wire.header);
	}
	return request;
}

/**
 * gpuferry_request_queue() - put a request into the control queue
 * @device: the device
 * @request: the request
 *
 * Context: device->lock held.
 * Return: 0, or -ENOSPC when the queue has no room now.
 */
static int gpuferry_request_queue(struct gpuferry_device *device, struct gpuferry_request *request)
{
	const struct gpuferry_extents *extents = request->extents;
	unsigned int left = extents ? extents->count : 0;
	unsigned int chunks = DIV_ROUND_UP(left, GPUFERRY_CHUNK_EXTENTS);
	struct scatterlist in, *lists[] = { device->sg, &in };
	unsigned int i;

	sg_init_table(device->sg, 1 + chunks);
	sg_set_buf(&device->sg[0], &request->wire, request->bytes);
	for (i = 0; i < chunks; i++) {
		unsigned int count = min_t(unsigned int, left, GPUFERRY_CHUNK_EXTENTS);

		sg_set_buf(&device->sg[1 + i], extents->chunk[i],
			   count * sizeof(struct gpuferry_extent));
		left -= count;
	}
	sg_init_one(&in, &request->response, sizeof(request->response));
	return virtqueue_add_sgs(device->control, lists, 1, 1, request, GFP_ATOMIC);
}

/**
 * gpuferry_request_submit() - give a request to the device
 * @request: the request; the queue takes a reference of its own
 *
 * The queue is at least as long as the longest request, so a request that finds no
 * room finds others before it, and the answer to one of those moves the backlog.
 *
 * Context: Any.
 * Return: 0, or -EPIPE when the device is gone.
 */
int gpuferry_request_submit(struct gpuferry_request *request)
{
	struct gpuferry_session *session = request->session;
	struct gpuferry_device *device = session->device;
	bool notify = false;
	unsigned long flags;
	int error = 0;

	rcu_read_lock();
	spin_lock_irqsave(&device->lock, flags);
	if (device->stopped) {
		error = -EPIPE;
	} else {
		kref_get(&request->ref);
		session->outstanding++;
		if (!list_empty(&device->backlog) || gpuferry_request_queue(device, request))
			list_add_tail(&request->backlog, &device->backlog);
		notify = virtqueue_kick_prepare(device->control);
	}
	spin_unlock_irqrestore(&device->lock, flags);
	if (notify)
		virtqueue_notify(device->control);
	rcu_read_unlock();
	return error;
}

/**
 * gpuferry_request_wait() - sleep until a request is answered
 * @request: the request, submitted
 *
 * Context: Process. Only a fatal signal interrupts the sleep; then the request stays
 * with the queue, and what it names stays with the session's table entry.
 * Return: the answer as an error number, or -EINTR when the caller is being killed.
 */
int gpuferry_request_wait(struct gpuferry_request *request)
{
	if (wait_for_completion_state(&request->answered, TASK_KILLABLE | TASK_FREEZABLE))
		return -EINTR;
	return request->error;
}

/**
 * gpuferry_request_answer() - a request is back from the device
 * @request: the request; the queue's reference is dropped
 * @valid: the device's answer is complete, or the device has been reset
 * @error: the answer as an error number
 *
 * Context: device->lock held.
 */
static void gpuferry_request_answer(struct gpuferry_request *request, bool valid, int error)
{
	struct gpuferry_session *session = request->session;

	request->valid = valid;
	request->error = error;
	if (valid && request->wire.header.kind == cpu_to_le32(GPUFERRY_REQUEST_CLOSE))
		session->closed = true;
	session->outstanding--;
	gpuferry_session_retire(session);
	complete(&request->answered);
	gpuferry_request_put(request);
}

/**
 * gpuferry_response_error() - the error number for a status
 * @status: GPUFERRY_RESPONSE_*
 *
 * Context: Any.
 * Return: 0 or an error number other than -EINTR.
 */
static int gpuferry_response_error(u32 status)
{
	switch (status) {
	case GPUFERRY_RESPONSE_OK:
		return 0;
	case GPUFERRY_RESPONSE_NO_WORKER:
		return -EAGAIN;
	case GPUFERRY_RESPONSE_DEAD:
		return -EPIPE;
	case GPUFERRY_RESPONSE_LIMIT:
		return -ENOSPC;
	default:
		return -EPROTO;
	}
}

/**
 * gpuferry_control_callback() - the device has answered requests
 * @vq: the control queue
 *
 * Context: Interrupt, or any.
 */
static void gpuferry_control_callback(struct virtqueue *vq)
{
	struct gpuferry_device *device = vq->vdev->priv;
	struct gpuferry_request *request;
	bool notify = false;
	unsigned long flags;
	unsigned int bytes;

	spin_lock_irqsave(&device->lock, flags);
	if (device->stopped)
		goto unlock;
	do {
		virtqueue_disable_cb(vq);
		while ((request = virtqueue_get_buf(vq, &bytes))) {
			bool valid = bytes >= sizeof(request->response);
			u32 status = GPUFERRY_RESPONSE_INVALID;

			if (valid)
				status = le32_to_cpu(request->response.status);
			else
				dev_err_ratelimited(&vq->vdev->dev,
						    "answer to request %u of session %u has %u bytes, expected %zu\n",
						    le32_to_cpu(request->wire.header.kind),
						    request->session->number, bytes,
						    sizeof(request->response));
			gpuferry_request_answer(request, valid, gpuferry_response_error(status));
		}
		while ((request = list_first_entry_or_null(&device->backlog,
							   struct gpuferry_request, backlog))) {
			if (gpuferry_request_queue(device, request))
				break;
			list_del_init(&request->backlog);
			notify = true;
		}
	} while (!virtqueue_enable_cb(vq));
	notify = notify && virtqueue_kick_prepare(vq);
unlock:
	spin_unlock_irqrestore(&device->lock, flags);
	if (notify)
		virtqueue_notify(vq);
}

/**
 * gpuferry_event_handle() - act on one event
 * @device: the device
 * @event: a private copy of what the device wrote
 *
 * No wake-up is lost: the device writes the word, then returns the event. A thread
 * going to sleep is on session->waiters before it looks at the word for the last
 * time. Whichever of that and wake_up_all() takes waiters.lock first, either the
 * thread is on the list and is woken, or it takes the lock after a holder that had
 * seen the event, hence sees the word.
 *
 * Context: device->lock held.
 */
static void gpuferry_event_handle(struct gpuferry_device *device,
				  const struct gpuferry_event *event)
{
	u32 number = le32_to_cpu(event->session), kind = le32_to_cpu(event->kind);
	struct gpuferry_session *session = NULL;

	if (number < device->max_sessions)
		session = device->sessions[number];
	if (!session) {
		dev_warn_ratelimited(&device->vdev->dev,
				     "event %u for session %u, which is not open, ignored\n",
				     kind, number);
		return;
	}
	switch (kind) {
	case GPUFERRY_EVENT_DEAD:
		WRITE_ONCE(session->dead, true);
		fallthrough;
	case GPUFERRY_EVENT_WAKE:
		wake_up_all(&session->waiters);
		break;
	default:
		dev_warn_ratelimited(&device->vdev->dev,
				     "unknown event %u for session %u ignored\n", kind, number);
	}
}

/**
 * gpuferry_event_queue() - give a buffer for an event to the device
 * @device: the device
 * @buffer: the buffer
 *
 * Context: device->lock held.
 * Return: 0, or an error when the queue is broken.
 */
static int gpuferry_event_queue(struct gpuferry_device *device,
				struct gpuferry_event_buffer *buffer)
{
	struct scatterlist in;

	sg_init_one(&in, &buffer->event, sizeof(buffer->event));
	return virtqueue_add_inbuf(device->event, &in, 1, buffer, GFP_ATOMIC);
}

/**
 * gpuferry_events_handle() - act on all events that the device has returned
 * @device: the device
 *
 * Context: Any.
 */
void gpuferry_events_handle(struct gpuferry_device *device)
{
	struct gpuferry_event_buffer *buffer;
	bool notify = false;
	unsigned long flags;
	unsigned int bytes;

	rcu_read_lock();
	spin_lock_irqsave(&device->lock, flags);
	if (device->stopped)
		goto unlock;
	do {
		virtqueue_disable_cb(device->event);
		while ((buffer = virtqueue_get_buf(device->event, &bytes))) {
			struct gpuferry_event event;

			if (bytes >= sizeof(event)) {
				event.kind = READ_ONCE(buffer->event.kind);
				event.session = READ_ONCE(buffer->event.session);
				gpuferry_event_handle(device, &event);
			} else {
				dev_warn_ratelimited(&device->vdev->dev,
						     "event of %u bytes, expected %zu, ignored\n",
						     bytes, sizeof(event));
			}
			if (!gpuferry_event_queue(device, buffer))
				notify = true;
		}
	} while (!virtqueue_enable_cb(device->event));
	notify = notify && virtqueue_kick_prepare(device->event);
unlock:
	spin_unlock_irqrestore(&device->lock, flags);
	if (notify)
		virtqueue_notify(device->event);
	rcu_read_unlock();
}

/**
 * gpuferry_event_callback() - the device has returned events
 * @vq: the event queue
 *
 * Context: Interrupt, or any.
 */
static void gpuferry_event_callback(struct virtqueue *vq)
{
	gpuferry_events_handle(vq->vdev->priv);
}

/*
 * Doorbells
 *
 * A session's doorbell is one buffer, so ringing never allocates, and the queue has
 * room for those of all session numbers, so it never fails. The buffer holds only the
 * session's number: it may lie in the queue at any time, also after the session has
 * ended, because a doorbell for which there is no news does no harm.
 *
 * A doorbell is never lost. What has to be shown: after gpuferry_ring() the device
 * reads a doorbell of this session that was made available later than the news (which
 * the caller stored before the system call). Under device->lock there are two cases:
 *  1. Not queued. The buffer is made available now; virtqueue_add_outbuf() has a
 *     write barrier before that, so the device reads it after the news is visible.
 *  2. Queued. Whether the device has read it already cannot be known. `again` is set,
 *     and whoever sees the buffer come back makes it available once more: case 1.
 * In case 2 someone does see it come back: when device->lock is released while any
 * `again` is set, the queue's interrupt is on, and after it was turned on the used
 * ring was found empty (gpuferry_bells_settle()). The device returns every buffer it
 * has read, so an interrupt follows, whose handler does the same again.
 * As long as nobody rings twice before the device reads, the interrupt is off.
 */

/**
 * gpuferry_bell_queue() - make a doorbell available to the device
 * @device: the device
 * @bell: the doorbell, not queued
 *
 * Context: device->lock held.
 * Return: 0, or an error when the queue is broken.
 */
static int gpuferry_bell_queue(struct gpuferry_device *device, struct gpuferry_bell *bell)
{
	struct scatterlist out;
	int error;

	sg_init_one(&out, &bell->buffer, sizeof(bell->buffer));
	error = virtqueue_add_outbuf(device->doorbell, &out, 1, bell, GFP_ATOMIC);
	bell->queued = !error;
	return error;
}

/**
 * gpuferry_bells_reap() - take back the doorbells that the device has read
 * @device: the device
 *
 * Context: device->lock held.
 */
static void gpuferry_bells_reap(struct gpuferry_device *device)
{
	struct gpuferry_bell *bell;
	unsigned int bytes;

	while ((bell = virtqueue_get_buf(device->doorbell, &bytes))) {
		bell->queued = false;
		if (bell->again) {
			bell->again = false;
			device->again--;
			gpuferry_bell_queue(device, bell);
		}
	}
}

/**
 * gpuferry_bells_settle() - reap, and have the interrupt on if a doorbell is to be repeated
 * @device: the device
 *
 * Context: device->lock held.
 */
static void gpuferry_bells_settle(struct gpuferry_device *device)
{
	do {
		virtqueue_disable_cb(device->doorbell);
		gpuferry_bells_reap(device);
	} while (device->again && !virtqueue_enable_cb(device->doorbell));
}

/**
 * gpuferry_doorbell_callback() - the device has read doorbells of which some are to be repeated
 * @vq: the doorbell queue
 *
 * Context: Interrupt, or any.
 */
static void gpuferry_doorbell_callback(struct virtqueue *vq)
{
	struct gpuferry_device *device = vq->vdev->priv;
	bool notify = false;
	unsigned long flags;

	spin_lock_irqsave(&device->lock, flags);
	if (!device->stopped) {
		gpuferry_bells_settle(device);
		notify = virtqueue_kick_prepare(vq);
	}
	spin_unlock_irqrestore(&device->lock, flags);
	if (notify)
		virtqueue_notify(vq);
}

/**
 * gpuferry_ring() - ring a session's doorbell
 * @session: the session
 *
 * Context: Any. Does not sleep or allocate.
 * Return: 0, or -EPIPE when the session is dead.
 */
int gpuferry_ring(struct gpuferry_session *session)
{
	struct gpuferry_device *device = session->device;
	struct gpuferry_bell *bell = &device->bells[session->number];
	bool notify = false;
	unsigned long flags;
	int error = 0;

	rcu_read_lock();
	spin_lock_irqsave(&device->lock, flags);
	/* Not dead: the number is still this session's, see gpuferry_session_teardown(). */
	if (device->stopped || READ_ONCE(session->dead)) {
		error = -EPIPE;
		goto unlock;
	}
	gpuferry_bells_reap(device);
	if (!bell->queued) {
		if (gpuferry_bell_queue(device, bell))
			error = -EPIPE;
	} else if (!bell->again) {
		bell->again = true;
		device->again++;
	}
	gpuferry_bells_settle(device);
	notify = virtqueue_kick_prepare(device->doorbell);
unlock:
	spin_unlock_irqrestore(&device->lock, flags);
	if (notify)
		virtqueue_notify(device->doorbell);
	rcu_read_unlock();
	return error;
}

/**
 * gpuferry_queues_find() - have the transport set up the virtqueues
 * @device: the device
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
static int gpuferry_queues_find(struct gpuferry_device *device)
{
	struct virtqueue *vqs[GPUFERRY_QUEUE_COUNT];
	int error;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	struct virtqueue_info info[GPUFERRY_QUEUE_COUNT] = {
		[GPUFERRY_QUEUE_CONTROL] = { "control", gpuferry_control_callback },
		[GPUFERRY_QUEUE_EVENT] = { "event", gpuferry_event_callback },
		[GPUFERRY_QUEUE_DOORBELL] = { "doorbell", gpuferry_doorbell_callback },
	};

	error = virtio_find_vqs(device->vdev, GPUFERRY_QUEUE_COUNT, vqs, info, NULL);
#else
	static const char * const names[GPUFERRY_QUEUE_COUNT] = {
		[GPUFERRY_QUEUE_CONTROL] = "control",
		[GPUFERRY_QUEUE_EVENT] = "event",
		[GPUFERRY_QUEUE_DOORBELL] = "doorbell",
	};
	vq_callback_t *callbacks[GPUFERRY_QUEUE_COUNT] = {
		[GPUFERRY_QUEUE_CONTROL] = gpuferry_control_callback,
		[GPUFERRY_QUEUE_EVENT] = gpuferry_event_callback,
		[GPUFERRY_QUEUE_DOORBELL] = gpuferry_doorbell_callback,
	};

	error = virtio_find_vqs(device->vdev, GPUFERRY_QUEUE_COUNT, vqs, callbacks, names, NULL);
#endif
	if (error) {
		dev_err(&device->vdev->dev, "no virtqueues: error %d, expected %u queues\n",
			error, GPUFERRY_QUEUE_COUNT);
		return error;
	}
	device->control = vqs[GPUFERRY_QUEUE_CONTROL];
	device->event = vqs[GPUFERRY_QUEUE_EVENT];
	device->doorbell = vqs[GPUFERRY_QUEUE_DOORBELL];
	return 0;
}

/**
 * gpuferry_queues_start() - set up the virtqueues and start the device
 * @device: the device, stopped; max_sessions is lowered to what the doorbell queue holds
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
int gpuferry_queues_start(struct gpuferry_device *device)
{
	struct virtio_device *vdev = device->vdev;
	unsigned int i, size;
	int error;

	error = gpuferry_queues_find(device);
	if (error)
		return error;

	size = virtqueue_get_vring_size(device->control);
	if (size < GPUFERRY_CONTROL_DESCRIPTORS) {
		dev_err(&vdev->dev, "control queue of %u buffers, expected %zu or more\n",
			size, GPUFERRY_CONTROL_DESCRIPTORS);
		error = -EINVAL;
		goto stop;
	}
	size = virtqueue_get_vring_size(device->doorbell);
	device->max_sessions = min(device->max_sessions, size);
	memset(device->bells, 0, sizeof(device->bells));
	for (i = 0; i < GPUFERRY_MAX_SESSIONS; i++)
		device->bells[i].buffer.session = cpu_to_le32(i);
	device->again = 0;
	size = virtqueue_get_vring_size(device->event);
	for (i = 0; !error && i < min_t(unsigned int, size, GPUFERRY_EVENTS); i++)
		error = gpuferry_event_queue(device, &device->events[i]);
	if (error)
		goto stop;

	spin_lock_irq(&device->lock);
	device->stopped = false;
	spin_unlock_irq(&device->lock);
	virtio_device_ready(vdev);
	virtqueue_kick(device->event);
	return 0;

stop:
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	return error;
}

/**
 * gpuferry_queues_stop() - reset the device and end all that depended on it
 * @device: the device
 *
 * After the reset the device touches no memory of the guest, so everything it had been
 * lent is taken back: requests are answered with -EPIPE, sessions are dead and retired.
 *
 * Context: Process. May run twice, not at the same time.
 */
void gpuferry_queues_stop(struct gpuferry_device *device)
{
	struct virtio_device *vdev = device->vdev;
	struct gpuferry_request *request, *next;
	bool stopped;
	u32 i;

	spin_lock_irq(&device->lock);
	stopped = device->stopped;
	device->stopped = true;
	spin_unlock_irq(&device->lock);
	if (stopped)
		return;
	/* Nobody notifies a queue any more. */
	synchronize_rcu();
	virtio_reset_device(vdev);

	spin_lock_irq(&device->lock);
	while ((request = virtqueue_detach_unused_buf(device->control)))
		gpuferry_request_answer(request, true, -EPIPE);
	list_for_each_entry_safe(request, next, &device->backlog, backlog) {
		list_del_init(&request->backlog);
		gpuferry_request_answer(request, true, -EPIPE);
	}
	for (i = 0; i < GPUFERRY_MAX_SESSIONS; i++) {
		struct gpuferry_session *session = device->sessions[i];

		if (!session)
			continue;
		WRITE_ONCE(session->dead, true);
		wake_up_all(&session->waiters);
		session->closed = true;
		gpuferry_session_retire(session);
	}
	spin_unlock_irq(&device->lock);

	vdev->config->del_vqs(vdev);
	flush_workqueue(gpuferry_workqueue);
}
