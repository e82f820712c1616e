// SPDX-License-Identifier: GPL-2.0
/*
 * The control queue: requests and their answers.
 *
 * What the device returns is not trusted: a length is checked before the first field
 * is read, and nothing but a complete answer, or a reset, makes the driver free what
 * the device was told it may use.
 */
#include <linux/freezer.h>
#include <linux/ktime.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>

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
	case GPUFERRY_REQUEST_OPEN_KEPT:
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
	struct scatterlist in, *out = device->sg, *lists[] = { device->sg, &in };
	struct gpuferry_chunk *chunk;

	sg_init_table(out, 1 + (extents ? extents->chunk_count : 0));
	sg_set_buf(out, &request->wire, request->bytes);
	if (extents) {
		list_for_each_entry(chunk, &extents->chunks, list)
			sg_set_buf(++out, chunk->extents,
				   chunk->used * sizeof(struct gpuferry_extent));
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
	/* The reference passes to the work. */
	if (request->late)
		queue_work(gpuferry_workqueue, &request->finish);
	else
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
 * gpuferry_answers_handle() - take the answers that the device has given
 * @device: the device
 * @listen: whether the next answer is to interrupt; else who called looks again
 *
 * Context: Any.
 */
static void gpuferry_answers_handle(struct gpuferry_device *device, bool listen)
{
	struct virtqueue *vq;
	struct gpuferry_request *request;
	bool notify = false;
	unsigned long flags;
	unsigned int bytes;

	rcu_read_lock();
	spin_lock_irqsave(&device->lock, flags);
	if (device->stopped)
		goto unlock;
	vq = device->control;
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
	} while (listen && !virtqueue_enable_cb(vq));
	notify = notify && virtqueue_kick_prepare(vq);
unlock:
	spin_unlock_irqrestore(&device->lock, flags);
	if (notify)
		virtqueue_notify(vq);
	rcu_read_unlock();
}

/**
 * gpuferry_control_callback() - the device has answered requests
 * @vq: the control queue
 *
 * Context: Interrupt, or any.
 */
void gpuferry_control_callback(struct virtqueue *vq)
{
	gpuferry_answers_handle(vq->vdev->priv, true);
}

/*
 * How long to look for an answer before sleeping: most come within this time, and an interrupt
 * and a switch of threads take a good part of it.
 */
#define GPUFERRY_LOOK_NS (100 * NSEC_PER_USEC)

/**
 * gpuferry_request_look() - look for the answer to a request, for a short time
 * @request: the request, submitted
 *
 * Context: Process.
 */
static void gpuferry_request_look(struct gpuferry_request *request)
{
	struct gpuferry_device *device = request->session->device;
	u64 end = ktime_get_ns() + GPUFERRY_LOOK_NS;

	do {
		gpuferry_answers_handle(device, false);
		cpu_relax();
		cond_resched();
	} while (!completion_done(&request->answered) && ktime_get_ns() < end);
	gpuferry_answers_handle(device, true);
}

/* How long a host that lives may leave a doorbell in the queue. */
#define GPUFERRY_SILENCE (4 * HZ)

/**
 * gpuferry_request_wait() - sleep until a request is answered
 * @request: the request, submitted
 *
 * A request may take long: the host starts a worker for it. A doorbell does not, so it
 * shows whether anybody is there: nothing else tells a guest that its host's gpuferryd has
 * ended.
 *
 * Context: Process. Only a fatal signal interrupts the sleep; then, and when nobody is
 * there, the request stays with the queue, and what it names stays with the session's
 * table entry.
 * Return: the answer as an error number, -EINTR when the caller is being killed, or
 * -EPIPE, with @request->valid unset, when nobody is there.
 */
int gpuferry_request_wait(struct gpuferry_request *request)
{
	struct gpuferry_session *session = request->session;
	unsigned int taken = 0;
	bool rung = false;
	long left;

	gpuferry_request_look(request);
	for (;;) {
		left = wait_for_completion_killable_timeout(&request->answered,
							    rung ? GPUFERRY_SILENCE : HZ);
		if (left < 0)
			return -EINTR;
		if (left)
			return request->error;
		/* Whoever looks for its own answer, and so for all, may have been put aside meanwhile. */
		gpuferry_answers_handle(session->device, true);
		if (completion_done(&request->answered))
			continue;
		try_to_freeze();
		if (rung && gpuferry_bells_taken(session) == taken) {
			dev_err_ratelimited(&session->device->vdev->dev,
					    "the host does not take doorbells: its gpuferryd has ended or hangs\n");
			return -EPIPE;
		}
		taken = gpuferry_bells_taken(session);
		rung = !gpuferry_ring(session);
	}
}

/**
 * gpuferry_requests_detach() - take all requests out of the control queue
 * @device: the device, reset
 *
 * Context: device->lock held.
 */
void gpuferry_requests_detach(struct gpuferry_device *device)
{
	struct gpuferry_request *request;

	while ((request = virtqueue_detach_unused_buf(device->control)))
		list_add_tail(&request->backlog, &device->backlog);
}

/**
 * gpuferry_requests_abort() - answer all requests in place of a device that is gone
 * @device: the device, its requests detached
 *
 * Context: device->lock held.
 */
void gpuferry_requests_abort(struct gpuferry_device *device)
{
	struct gpuferry_request *request, *next;

	list_for_each_entry_safe(request, next, &device->backlog, backlog) {
		list_del_init(&request->backlog);
		gpuferry_request_answer(request, true, -EPIPE);
	}
}
