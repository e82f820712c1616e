// SPDX-License-Identifier: GPL-2.0
/*
 * Setting up the virtqueues and starting the device; stopping it.
 */
#include <linux/delay.h>
#include <linux/rcupdate.h>
#include <linux/virtio_config.h>

#include "virtio_gpuferry.h"

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
	if (size < GPUFERRY_CONTROL_MIN) {
		dev_err(&vdev->dev, "control queue of %u buffers, expected %u or more\n", size,
			GPUFERRY_CONTROL_MIN);
		error = -EINVAL;
		goto stop;
	}
	/* Without indirect descriptors each piece of a request takes a place in the queue. */
	device->max_chunks = min_t(unsigned int, size, GPUFERRY_DESCRIPTORS) - 2;
	size = virtqueue_get_vring_size(device->doorbell);
	device->max_sessions = min(device->max_sessions, size);
	gpuferry_bells_reset(device);
	size = virtqueue_get_vring_size(device->event);
	for (i = 0; !error && i < min_t(unsigned int, size, GPUFERRY_EVENTS); i++)
		error = gpuferry_event_queue(device, &device->events[i]);
	if (error)
		goto stop;

	spin_lock_irq(&device->lock);
	device->stopped = false;
	device->ending = false;
	spin_unlock_irq(&device->lock);
	virtio_device_ready(vdev);
	virtqueue_kick(device->event);
	return 0;

stop:
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	return error;
}

/* How long the device may take to close all sessions. */
#define GPUFERRY_CLOSING_MS 5000

/**
 * gpuferry_sessions_end() - close all sessions, as they do not end with a reset
 * @device: the device, running
 *
 * A device that does not answer any more has no workers either. A session that is being
 * opened is closed when it is open.
 *
 * Context: Process. Waits for the device, but not for long.
 */
static void gpuferry_sessions_end(struct gpuferry_device *device)
{
	struct gpuferry_session *session;
	unsigned int left, waited = 0;
	u32 i;

	spin_lock_irq(&device->lock);
	device->ending = true;
	spin_unlock_irq(&device->lock);
	do {
		left = 0;
		for (i = 0; i < GPUFERRY_MAX_SESSIONS; i++) {
			spin_lock_irq(&device->lock);
			session = device->sessions[i];
			if (session)
				kref_get(&session->ref);
			spin_unlock_irq(&device->lock);
			if (!session)
				continue;
			left++;
			if (READ_ONCE(session->opened))
				gpuferry_session_close(session);
			gpuferry_session_put(session);
		}
		if (left)
			msleep(20);
		waited += 20;
	} while (left && waited < GPUFERRY_CLOSING_MS);
	if (left)
		dev_err(&device->vdev->dev, "%u sessions are not closed: no answer\n", left);
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
	bool stopped;
	u32 i;

	spin_lock_irq(&device->lock);
	stopped = device->stopped;
	spin_unlock_irq(&device->lock);
	if (stopped)
		return;
	gpuferry_sessions_end(device);
	spin_lock_irq(&device->lock);
	device->stopped = true;
	spin_unlock_irq(&device->lock);
	/* Nobody notifies a queue any more. */
	synchronize_rcu();
	virtio_reset_device(vdev);
	spin_lock_irq(&device->lock);
	gpuferry_requests_detach(device);
	spin_unlock_irq(&device->lock);
	/* On User-Mode Linux it is this, not the reset, that stops the device. */
	vdev->config->del_vqs(vdev);

	spin_lock_irq(&device->lock);
	gpuferry_requests_abort(device);
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
	gpuferry_window_stop(device);
	flush_workqueue(gpuferry_workqueue);
}
