// SPDX-License-Identifier: GPL-2.0
/*
 * Sessions: the window, OPEN and CLOSE.
 *
 * A session ends when its process unmaps the window (which is what the end of a
 * process and exec do, even if a child has inherited the open file), or when the file
 * is closed. Either queues CLOSE and goes on; nothing is waited for.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "virtio_gpuferry.h"

/**
 * gpuferry_session_release() - free a session
 * @ref: its last reference: neither the device nor an open file uses it
 *
 * Context: Process.
 */
static void gpuferry_session_release(struct kref *ref)
{
	struct gpuferry_session *session = container_of(ref, struct gpuferry_session, ref);

	gpuferry_window_free(session->window);
	gpuferry_request_put(session->close);
	xa_destroy(&session->leases);
	mmdrop(session->mm);
	gpuferry_device_put(session->device);
	kfree(session);
}

/**
 * gpuferry_session_put() - let go of a session
 * @session: the session
 *
 * Context: Process.
 */
void gpuferry_session_put(struct gpuferry_session *session)
{
	kref_put(&session->ref, gpuferry_session_release);
}

/**
 * gpuferry_session_teardown() - give back what only the device kept in use
 * @work: the session's
 *
 * Context: Work queue; runs once.
 */
static void gpuferry_session_teardown(struct work_struct *work)
{
	struct gpuferry_session *session = container_of(work, struct gpuferry_session, teardown);
	struct gpuferry_device *device = session->device;

	/* The session is dead: after this no thread can add a lease. */
	mutex_lock(&session->lock);
	session->closing = true;
	mutex_unlock(&session->lock);
	gpuferry_lease_end_all(session);

	/*
	 * The device returned the session's last event before it answered CLOSE, but on
	 * another queue: look there before the number can be given to another session.
	 */
	gpuferry_events_handle(device);
	spin_lock_irq(&device->lock);
	device->sessions[session->number] = NULL;
	spin_unlock_irq(&device->lock);
	gpuferry_session_put(session);
}

/**
 * gpuferry_session_retire() - let go of a session if the device has
 * @session: a session in the table, dead if it is closed
 *
 * Context: device->lock held.
 */
void gpuferry_session_retire(struct gpuferry_session *session)
{
	if (!session->closed || session->outstanding || session->retired)
		return;
	session->retired = true;
	queue_work(gpuferry_workqueue, &session->teardown);
}

/**
 * gpuferry_session_close() - end a session
 * @session: the session
 *
 * Context: Process. Does not wait for the device.
 */
void gpuferry_session_close(struct gpuferry_session *session)
{
	mutex_lock(&session->lock);
	if (!session->closing) {
		session->closing = true;
		WRITE_ONCE(session->dead, true);
		/* If the device is gone, gpuferry_queues_stop() retires the session. */
		gpuferry_request_submit(session->close);
	}
	mutex_unlock(&session->lock);
	wake_up_all(&session->waiters);
}

/**
 * gpuferry_session_enter() - put a session into the device's table
 * @session: the session
 *
 * Context: Process.
 * Return: 0, -ENOSPC when there is no free number, -EPIPE when the device is gone.
 */
static int gpuferry_session_enter(struct gpuferry_session *session)
{
	struct gpuferry_device *device = session->device;
	int error = -ENOSPC;
	u32 i;

	spin_lock_irq(&device->lock);
	if (device->stopped || device->ending)
		error = -EPIPE;
	for (i = 0; error == -ENOSPC && i < device->max_sessions; i++) {
		if (device->sessions[i])
			continue;
		session->number = i;
		device->sessions[i] = session;
		kref_get(&session->ref);
		error = 0;
	}
	spin_unlock_irq(&device->lock);
	return error;
}

/**
 * gpuferry_session_start() - open a session on the device
 * @session: the session, in the table
 *
 * Context: Process.
 * Return: 0 or an error number; on failure the table lets go of the session in time.
 */
static int gpuferry_session_start(struct gpuferry_session *session)
{
	struct gpuferry_device *device = session->device;
	char name[TASK_COMM_LEN] = "";
	u64 capabilities = le64_to_cpu(device->config.capabilities);
	struct gpuferry_request *open;
	u32 kind = GPUFERRY_REQUEST_OPEN;
	int error = -ENOMEM;

	BUILD_BUG_ON(sizeof(name) != sizeof(open->wire.open.name));
	session->close = gpuferry_request_new(session, GPUFERRY_REQUEST_CLOSE);
	/* gpuferry_queues_stop() closes it, so it may last while the VM is paused. */
	if (capabilities & GPUFERRY_CAPABILITY_KEEPS)
		kind = GPUFERRY_REQUEST_OPEN_KEPT;
	open = gpuferry_request_new(session, kind);
	if (session->close && open) {
		get_task_comm(name, current);
		memcpy(open->wire.open.name, name, sizeof(name));
		open->wire.open.process = cpu_to_le32(task_tgid_nr(current));
		open->wire.open.extents = cpu_to_le32(session->window->extents.count);
		open->extents = &session->window->extents;
		error = gpuferry_request_submit(open);
		if (!error) {
			error = gpuferry_request_wait(open);
			if (error == -EINTR || !open->valid) {
				/* Not known to be refused. */
				gpuferry_session_close(session);
				gpuferry_request_put(open);
				return error;
			}
		}
	}
	gpuferry_request_put(open);
	if (!error)
		WRITE_ONCE(session->opened, true);
	if (error) {
		/* The device has no such session. */
		spin_lock_irq(&device->lock);
		WRITE_ONCE(session->dead, true);
		session->closed = true;
		gpuferry_session_retire(session);
		spin_unlock_irq(&device->lock);
	}
	return error;
}

/* When the next session's window is made: by then a program has started. */
#define GPUFERRY_REPLACE (HZ / 5)

/**
 * gpuferry_session_open() - set up a session for the calling process
 * @device: the device
 *
 * Context: Process. Waits for the device; only a fatal signal interrupts that.
 * Return: the session, held, or an error pointer: -ENOMEM; -ENOSPC when all session
 * numbers are in use; -EAGAIN when the host has no worker; -EPIPE when the device is
 * gone or the worker ended; -EPROTO when the device refuses or answers wrongly.
 */
struct gpuferry_session *gpuferry_session_open(struct gpuferry_device *device)
{
	struct gpuferry_session *session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	int error;

	if (!session)
		return ERR_PTR(-ENOMEM);
	kref_init(&session->ref);
	kref_get(&device->ref);
	session->device = device;
	session->mm = current->mm;
	mmgrab(session->mm);
	init_waitqueue_head(&session->waiters);
	init_waitqueue_head(&session->unpinned);
	mutex_init(&session->lock);
	xa_init_flags(&session->leases, XA_FLAGS_ALLOC);
	INIT_WORK(&session->teardown, gpuferry_session_teardown);

	session->window = gpuferry_window_take(device);
	error = session->window ? gpuferry_session_enter(session) : -ENOMEM;
	if (!error)
		error = gpuferry_session_start(session);
	if (error) {
		gpuferry_session_put(session);
		return ERR_PTR(error);
	}
	gpuferry_window_replace(device, GPUFERRY_REPLACE);
	return session;
}

/**
 * gpuferry_mapping_open() - the window's mapping is being moved
 * @vma: the new area
 *
 * Context: Process, mmap_lock held.
 */
static void gpuferry_mapping_open(struct vm_area_struct *vma)
{
	struct gpuferry_session *session = vma->vm_private_data;

	refcount_inc(&session->mappings);
}

/**
 * gpuferry_mapping_close() - the window is being unmapped
 * @vma: the area
 *
 * Context: Process, mmap_lock held or the address space is ending.
 */
static void gpuferry_mapping_close(struct vm_area_struct *vma)
{
	struct gpuferry_session *session = vma->vm_private_data;

	if (refcount_dec_and_test(&session->mappings))
		gpuferry_session_close(session);
}

/**
 * gpuferry_mapping_may_split() - refuse to unmap or change a part of the window
 * @vma: the area
 * @address: where it would be split
 *
 * Context: Process, mmap_lock held.
 * Return: -EINVAL.
 */
static int gpuferry_mapping_may_split(struct vm_area_struct *vma, unsigned long address)
{
	return -EINVAL;
}

static const struct vm_operations_struct gpuferry_mapping_operations = {
	.open = gpuferry_mapping_open,
	.close = gpuferry_mapping_close,
	.may_split = gpuferry_mapping_may_split,
};

/**
 * gpuferry_session_map() - map the window, once
 * @session: a session of the caller's
 * @vma: where
 *
 * The area is not copied by fork, so it belongs to one address space, and its end is
 * the session's.
 *
 * Context: Process, mmap_lock held.
 * Return: 0, -EINVAL for anything but the whole window, shared; -EBUSY when it has been
 * mapped before; -EPIPE when the session is dead; -ENOMEM.
 */
int gpuferry_session_map(struct gpuferry_session *session, struct vm_area_struct *vma)
{
	unsigned long flags = VM_IO | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP;
	unsigned long left = session->window->page_count;
	int error;

	if (vma->vm_pgoff || vma_pages(vma) != left || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	mutex_lock(&session->lock);
	if (READ_ONCE(session->dead))
		error = -EPIPE;
	else if (session->mapped)
		error = -EBUSY;
	else
		error = 0;
	if (error)
		goto unlock;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
#ifdef _PAGE_DIRTY
	/*
	 * The pages are never written back. Where the kernel keeps the dirty bit itself, as User-Mode
	 * Linux does, the first write to a page that is not dirty is a fault of 15 us.
	 */
	vma->vm_page_prot = __pgprot(pgprot_val(vma->vm_page_prot) | _PAGE_DIRTY);
#endif
	error = vm_insert_pages(vma, vma->vm_start, session->window->pages, &left);
	if (error)
		goto unlock;
	session->mapped = true;
	refcount_set(&session->mappings, 1);
	vma->vm_private_data = session;
	vma->vm_ops = &gpuferry_mapping_operations;
unlock:
	mutex_unlock(&session->lock);
	return error;
}
