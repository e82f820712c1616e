// SPDX-License-Identifier: GPL-2.0
/*
 * The doorbell queue: the driver tells the device which sessions have news.
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
#include <linux/rcupdate.h>

#include "virtio_gpuferry.h"

/**
 * gpuferry_bells_reset() - have all doorbells out of the queue
 * @device: the device, stopped
 *
 * Context: Process.
 */
void gpuferry_bells_reset(struct gpuferry_device *device)
{
	unsigned int i;

	memset(device->bells, 0, sizeof(device->bells));
	for (i = 0; i < GPUFERRY_MAX_SESSIONS; i++)
		device->bells[i].buffer.session = cpu_to_le32(i);
	device->again = 0;
}

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
		bell->taken++;
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
void gpuferry_doorbell_callback(struct virtqueue *vq)
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
 * gpuferry_bells_taken() - count the doorbells of a session that the device has taken
 * @session: the session
 *
 * Context: Any.
 * Return: how many, also of earlier sessions of that number.
 */
unsigned int gpuferry_bells_taken(struct gpuferry_session *session)
{
	struct gpuferry_device *device = session->device;
	unsigned int taken;
	unsigned long flags;

	spin_lock_irqsave(&device->lock, flags);
	if (!device->stopped)
		gpuferry_bells_reap(device);
	taken = device->bells[session->number].taken;
	spin_unlock_irqrestore(&device->lock, flags);
	return taken;
}
