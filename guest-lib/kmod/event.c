// SPDX-License-Identifier: GPL-2.0
/*
 * The event queue: the device wakes threads and tells of dead workers.
 */
#include <linux/rcupdate.h>

#include "virtio_gpuferry.h"

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
int gpuferry_event_queue(struct gpuferry_device *device, struct gpuferry_event_buffer *buffer)
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
void gpuferry_event_callback(struct virtqueue *vq)
{
	gpuferry_events_handle(vq->vdev->priv);
}
