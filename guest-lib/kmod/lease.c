// SPDX-License-Identifier: GPL-2.0
/*
 * Leases: pages of the process that the device may use.
 *
 * Whoever takes a lease out of session->leases unpins its pages, and nobody does
 * before the device has let go of them: PIN was refused, UNPIN was answered, or the
 * session is being torn down. A thread killed in between leaves the lease there.
 *
 * Leased pages are counted by session, which is one address space's. (mm->pinned_vm is
 * left alone: where the headers are not those of the kernel to the last field, as User-Mode
 * Linux's are not, it would be another field.) A session may lease RLIMIT_MEMLOCK, and more
 * than that while all leases of all devices together stay under pin_percent of the memory:
 * GPU programs pin as a matter of course, and on a machine with a GPU of its own they do
 * so without any limit.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "virtio_gpuferry.h"

static unsigned int pin_percent = 50;
module_param(pin_percent, uint, 0644);
MODULE_PARM_DESC(pin_percent, "Percentage of memory up to which leases may exceed RLIMIT_MEMLOCK (50)");

static atomic_long_t gpuferry_leased_pages;

/**
 * gpuferry_lease_release() - free a lease
 * @ref: its last reference; its pages have been unpinned
 *
 * Context: Any.
 */
static void gpuferry_lease_release(struct kref *ref)
{
	struct gpuferry_lease *lease = container_of(ref, struct gpuferry_lease, ref);

	gpuferry_extents_free(&lease->extents);
	kfree(lease);
}

/**
 * gpuferry_lease_put() - let go of a lease
 * @lease: the lease
 *
 * Context: Any.
 */
void gpuferry_lease_put(struct gpuferry_lease *lease)
{
	kref_put(&lease->ref, gpuferry_lease_release);
}

/**
 * gpuferry_lease_account() - count pages against the limits
 * @session: the session
 * @count: number of pages
 *
 * Context: Process, of the session.
 * Return: 0, or -ENOMEM when a limit is reached.
 */
static int gpuferry_lease_account(struct gpuferry_session *session, unsigned long count)
{
	u64 own = atomic64_add_return(count, &session->leased_pages);
	u64 all = atomic_long_add_return(count, &gpuferry_leased_pages);

	if (own <= rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT ||
	    all <= (u64)totalram_pages() * min(READ_ONCE(pin_percent), 100U) / 100 ||
	    capable(CAP_IPC_LOCK))
		return 0;
	atomic64_sub(count, &session->leased_pages);
	atomic_long_sub(count, &gpuferry_leased_pages);
	return -ENOMEM;
}

/**
 * gpuferry_lease_end() - unpin the pages of a lease
 * @session: the session
 * @lease: the lease, not in session->leases; the reference is dropped
 *
 * Context: Process.
 */
static void gpuferry_lease_end(struct gpuferry_session *session, struct gpuferry_lease *lease)
{
	struct gpuferry_chunk *chunk;
	unsigned int i;

	list_for_each_entry(chunk, &lease->extents.chunks, list) {
		for (i = 0; i < chunk->used; i++) {
			struct gpuferry_extent *extent = &chunk->extents[i];
			unsigned long frame = PHYS_PFN(le64_to_cpu(extent->address));

			unpin_user_page_range_dirty_lock(pfn_to_page(frame),
							 le32_to_cpu(extent->pages),
							 lease->writable);
			cond_resched();
		}
	}
	atomic64_sub(lease->page_count, &session->leased_pages);
	atomic_long_sub(lease->page_count, &gpuferry_leased_pages);
	gpuferry_lease_put(lease);
}

/**
 * gpuferry_lease_end_all() - unpin all pages that a session has lent
 * @session: the session; the device uses it no more, and no lease can be added
 *
 * Context: Process.
 */
void gpuferry_lease_end_all(struct gpuferry_session *session)
{
	struct gpuferry_lease *lease;
	unsigned long number;

	xa_for_each(&session->leases, number, lease) {
		lease = xa_erase(&session->leases, number);
		if (lease)
			gpuferry_lease_end(session, lease);
	}
}

/**
 * gpuferry_lease_fill() - pin the pages of a lease
 * @lease: the lease, without pages
 * @address: of the first page
 * @count: number of pages
 *
 * Context: Process.
 * Return: 0; -EFAULT, -ENOMEM or -EINTR: then some pages may be pinned.
 */
static int gpuferry_lease_fill(struct gpuferry_lease *lease, unsigned long address,
			       unsigned long count)
{
	unsigned int flags = FOLL_LONGTERM | (lease->writable ? FOLL_WRITE : 0);
	struct page **pages = (struct page **)__get_free_page(GFP_KERNEL);
	int error = 0;

	if (!pages)
		return -ENOMEM;
	while (count && !error) {
		int i, got, want = min(count, PAGE_SIZE / sizeof(*pages));

		got = pin_user_pages_fast(address, want, flags, pages);
		if (got <= 0) {
			error = got ? got : -EFAULT;
			break;
		}
		for (i = 0; i < got; i++) {
			error = gpuferry_extents_add(&lease->extents, pages[i], 1);
			if (error) {
				unpin_user_pages(pages + i, got - i);
				break;
			}
		}
		address += (unsigned long)got << PAGE_SHIFT;
		count -= got;
		if (!error && fatal_signal_pending(current))
			error = -EINTR;
	}
	free_page((unsigned long)pages);
	return error;
}

/**
 * gpuferry_lease_lend() - tell the device of a lease
 * @session: the session
 * @lease: the lease; the reference passes to session->leases, or the lease is ended
 * @pin: what the process asked for; the lease's number is set
 *
 * Context: Process. Waits for the device; only a fatal signal interrupts that.
 * Return: 0 or an error number.
 */
static int gpuferry_lease_lend(struct gpuferry_session *session, struct gpuferry_lease *lease,
			       struct gpuferry_ioctl_pin *pin)
{
	struct gpuferry_request *request = gpuferry_request_new(session, GPUFERRY_REQUEST_PIN);
	struct gpuferry_pin_request *wire;
	u32 number;
	int error;

	if (!request) {
		gpuferry_lease_end(session, lease);
		return -ENOMEM;
	}
	kref_get(&lease->ref);
	request->lease = lease;
	request->extents = &lease->extents;
	wire = &request->wire.pin;
	wire->flags = cpu_to_le32(pin->flags);
	wire->address = cpu_to_le64(pin->address);
	wire->bytes = cpu_to_le64(pin->bytes);
	wire->extents = cpu_to_le32(lease->extents.count);

	mutex_lock(&session->lock);
	if (READ_ONCE(session->dead))
		error = -EPIPE;
	else if (!session->mapped)
		error = -EINVAL;
	else
		error = xa_alloc(&session->leases, &number, lease,
				 XA_LIMIT(0, GPUFERRY_MAX_LEASES - 1), GFP_KERNEL_ACCOUNT);
	if (error) {
		mutex_unlock(&session->lock);
		gpuferry_lease_end(session, lease);
		gpuferry_request_put(request);
		return error == -EBUSY ? -ENOSPC : error;
	}
	wire->lease = cpu_to_le32(number);
	error = gpuferry_request_submit(request);
	mutex_unlock(&session->lock);

	/* From here on the lease is the table's: it may be ended at any time. */
	if (error) {
		request->valid = true;
	} else {
		error = gpuferry_request_wait(request);
		if (error == -EINTR)
			goto out;
	}
	if (!error) {
		xa_lock(&session->leases);
		lease = xa_load(&session->leases, number);
		if (lease)
			lease->state = GPUFERRY_LEASE_LIVE;
		xa_unlock(&session->leases);
		pin->lease = number;
	} else if (request->valid) {
		lease = xa_erase(&session->leases, number);
		if (lease)
			gpuferry_lease_end(session, lease);
	}
out:
	gpuferry_request_put(request);
	return error;
}

/**
 * gpuferry_lease_try() - lend a range of the caller's memory, if the limits allow it now
 * @session: a session of the caller's
 * @pin: the range; the lease's number is set
 *
 * Context: Process. Waits for the device; only a fatal signal interrupts that.
 * Return: as gpuferry_lease_pin().
 */
static int gpuferry_lease_try(struct gpuferry_session *session, struct gpuferry_ioctl_pin *pin)
{
	struct gpuferry_lease *lease;
	unsigned long count;
	u64 end;
	int error;

	if (!pin->bytes || check_add_overflow(pin->address, pin->bytes - 1, &end))
		return -EINVAL;
	if (!pin->flags || pin->flags & ~(GPUFERRY_PIN_READ | GPUFERRY_PIN_WRITE))
		return -EINVAL;
	if ((end >> PAGE_SHIFT) - (pin->address >> PAGE_SHIFT) >= session->device->max_pin_pages)
		return -EINVAL;
	if (end > ULONG_MAX || !access_ok((void __user *)(unsigned long)pin->address, pin->bytes))
		return -EFAULT;
	if (READ_ONCE(session->dead))
		return -EPIPE;
	count = (end >> PAGE_SHIFT) - (pin->address >> PAGE_SHIFT) + 1;

	lease = kzalloc(sizeof(*lease), GFP_KERNEL_ACCOUNT);
	if (!lease)
		return -ENOMEM;
	kref_init(&lease->ref);
	lease->writable = pin->flags & GPUFERRY_PIN_WRITE;
	gpuferry_extents_init(&lease->extents, count, session->device->max_chunks);
	error = gpuferry_lease_account(session, count);
	if (error) {
		gpuferry_lease_put(lease);
		return error;
	}
	lease->page_count = count;
	error = gpuferry_lease_fill(lease, pin->address & PAGE_MASK, count);
	if (error) {
		gpuferry_lease_end(session, lease);
		return error;
	}
	return gpuferry_lease_lend(session, lease, pin);
}

/* How long PIN waits for leases that are on their way out. */
#define GPUFERRY_UNPINNING HZ

/**
 * gpuferry_lease_await_room() - wait until what is on its way out counts no more
 * @session: a session of the caller's
 *
 * Context: Process.
 * Return: whether anything was on its way, and is out.
 */
static bool gpuferry_lease_await_room(struct gpuferry_session *session)
{
	if (!atomic_read(&session->unpinning))
		return false;
	return wait_event_killable_timeout(session->unpinned, !atomic_read(&session->unpinning),
					   GPUFERRY_UNPINNING) > 0;
}

/**
 * gpuferry_lease_pin() - lend a range of the caller's memory to the device
 * @session: a session of the caller's
 * @pin: the range; the lease's number is set
 *
 * Context: Process. Waits for the device; only a fatal signal interrupts that.
 * Return: 0; -EINVAL (length 0 or over the limit, wrap, wrong flags, window not
 * mapped); -EFAULT; -ENOSPC (no number left, or the device's limit); -EPIPE (dead);
 * -ENOMEM; -EPROTO (the device refuses); -EINTR (being killed).
 */
int gpuferry_lease_pin(struct gpuferry_session *session, struct gpuferry_ioctl_pin *pin)
{
	int error;

	do {
		error = gpuferry_lease_try(session, pin);
	} while ((error == -ENOMEM || error == -ENOSPC) && gpuferry_lease_await_room(session));
	return error;
}

/**
 * gpuferry_lease_finish() - act on the answer to an UNPIN for which nobody waited
 * @work: the request's; it holds the request and the session
 *
 * Where the device refused, the pages stay pinned until the session ends.
 *
 * Context: Work queue.
 */
static void gpuferry_lease_finish(struct work_struct *work)
{
	struct gpuferry_request *request = container_of(work, struct gpuferry_request, finish);
	struct gpuferry_session *session = request->session;
	struct gpuferry_lease *lease = NULL;

	if (!request->error)
		lease = xa_erase(&session->leases, le32_to_cpu(request->wire.unpin.lease));
	if (lease)
		gpuferry_lease_end(session, lease);
	if (atomic_dec_and_test(&session->unpinning))
		wake_up_all(&session->unpinned);
	gpuferry_request_put(request);
	gpuferry_session_put(session);
}

/**
 * gpuferry_lease_unpin() - end a lease
 * @session: a session of the caller's
 * @unpin: the lease's number, and whether to wait
 *
 * Context: Process. Waits for the device, unless GPUFERRY_UNPIN_LATE says not to; only a
 * fatal signal interrupts that.
 * Return: 0; -ENOENT when there is no such lease; -EPIPE when the session is dead,
 * -EPROTO when the device refuses, -EINTR when being killed: then the pages stay
 * pinned until the session ends.
 */
int gpuferry_lease_unpin(struct gpuferry_session *session, const struct gpuferry_ioctl_unpin *unpin)
{
	struct gpuferry_request *request = gpuferry_request_new(session, GPUFERRY_REQUEST_UNPIN);
	struct gpuferry_lease *lease;
	u32 number = unpin->lease;
	int error;

	if (!request)
		return -ENOMEM;
	request->wire.unpin.lease = cpu_to_le32(number);
	request->late = unpin->flags & GPUFERRY_UNPIN_LATE;
	INIT_WORK(&request->finish, gpuferry_lease_finish);

	mutex_lock(&session->lock);
	error = READ_ONCE(session->dead) ? -EPIPE : -ENOENT;
	if (error == -ENOENT) {
		xa_lock(&session->leases);
		lease = xa_load(&session->leases, number);
		if (lease && lease->state == GPUFERRY_LEASE_LIVE) {
			lease->state = GPUFERRY_LEASE_ENDING;
			error = 0;
		}
		xa_unlock(&session->leases);
	}
	if (!error && request->late) {
		/* The work's, which may run before this returns. */
		kref_get(&session->ref);
		atomic_inc(&session->unpinning);
	}
	if (!error) {
		error = gpuferry_request_submit(request);
		if (error && request->late) {
			atomic_dec(&session->unpinning);
			gpuferry_session_put(session);
		}
	}
	mutex_unlock(&session->lock);

	if (error || request->late)
		goto out;
	error = gpuferry_request_wait(request);
	if (!error) {
		lease = xa_erase(&session->leases, number);
		if (lease)
			gpuferry_lease_end(session, lease);
	}
out:
	gpuferry_request_put(request);
	return error;
}
