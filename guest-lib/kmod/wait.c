// SPDX-License-Identifier: GPL-2.0
/*
 * Sleeping on a word of the window.
 */
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "virtio_gpuferry.h"

/**
 * struct gpuferry_waiter - a thread in gpuferry_session_wait()
 * @entry: in session->waiters
 * @session: the session
 * @word: the word in the window
 * @value: sleep while the word is this
 */
struct gpuferry_waiter {
	struct wait_queue_entry entry;
	struct gpuferry_session *session;
	const __le32 *word;
	__le32 value;
};

/**
 * gpuferry_waiter_done() - whether a thread has no reason to sleep
 * @waiter: the thread
 *
 * Context: Any.
 * Return: true if so.
 */
static bool gpuferry_waiter_done(const struct gpuferry_waiter *waiter)
{
	return READ_ONCE(*waiter->word) != waiter->value || READ_ONCE(waiter->session->dead);
}

/**
 * gpuferry_waiter_wake() - wake a thread, but only if its own word has changed
 * @entry: the thread's entry in session->waiters
 * @mode: see wake_up()
 * @flags: see wake_up()
 * @key: see wake_up()
 *
 * Context: session->waiters.lock held.
 * Return: whether the thread was woken.
 */
static int gpuferry_waiter_wake(struct wait_queue_entry *entry, unsigned int mode, int flags,
				void *key)
{
	struct gpuferry_waiter *waiter = container_of(entry, struct gpuferry_waiter, entry);

	if (!gpuferry_waiter_done(waiter))
		return 0;
	return autoremove_wake_function(entry, mode, flags, key);
}

/**
 * gpuferry_session_wait() - sleep while a word of the window has a value
 * @session: a session of the caller's
 * @offset: of the word
 * @value: the value
 * @timeout_ns: longest sleep; 0 is without end
 *
 * Context: Process. See gpuferry_event_handle() for why no wake-up is lost.
 * Return: 0 when the word differs; -EPIPE when the session is dead; -ETIMEDOUT;
 * -EINTR on a signal; -EINVAL when there is no such word.
 */
int gpuferry_session_wait(struct gpuferry_session *session, u32 offset, u32 value, u64 timeout_ns)
{
	struct gpuferry_waiter waiter = {
		.session = session,
		.value = cpu_to_le32(value),
	};
	ktime_t end = KTIME_MAX;
	int error = 0;

	if (offset % sizeof(__le32) || offset / PAGE_SIZE >= session->window->page_count)
		return -EINVAL;
	waiter.word = page_address(session->window->pages[offset / PAGE_SIZE]) +
		      offset % PAGE_SIZE;
	init_waitqueue_func_entry(&waiter.entry, gpuferry_waiter_wake);
	waiter.entry.private = current;
	INIT_LIST_HEAD(&waiter.entry.entry);
	if (timeout_ns)
		end = ktime_add_safe(ktime_get(), min_t(u64, timeout_ns, KTIME_MAX));

	for (;;) {
		prepare_to_wait(&session->waiters, &waiter.entry, TASK_INTERRUPTIBLE);
		if (gpuferry_waiter_done(&waiter))
			break;
		if (signal_pending(current)) {
			error = -EINTR;
			break;
		}
		if (!schedule_hrtimeout_range(timeout_ns ? &end : NULL, current->timer_slack_ns,
					      HRTIMER_MODE_ABS)) {
			error = -ETIMEDOUT;
			break;
		}
	}
	finish_wait(&session->waiters, &waiter.entry);
	if (READ_ONCE(*waiter.word) != waiter.value)
		return 0;
	if (READ_ONCE(session->dead))
		return -EPIPE;
	return error;
}
