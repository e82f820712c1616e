// SPDX-License-Identifier: GPL-2.0
/*
 * Windows: the memory that a process and its worker share.
 *
 * Fresh pages for a window take longer than all else that opening a session does, above all
 * where the host has to find them too. So one window is kept ready: it is made when the device
 * is found, and again when a session has taken it. It was nobody's before.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "virtio_gpuferry.h"

/* Largest piece of a window: 2 MiB, like a large page. */
#define GPUFERRY_WINDOW_ORDER 9

/**
 * gpuferry_window_free() - free a window
 * @window: the window, which neither the device nor a mapping uses, or NULL
 *
 * Context: Process.
 */
void gpuferry_window_free(struct gpuferry_window *window)
{
	unsigned int i;

	if (!window)
		return;
	for (i = 0; i < window->page_count; i++)
		__free_page(window->pages[i]);
	kvfree(window->pages);
	gpuferry_extents_free(&window->extents);
	kfree(window);
}

/**
 * gpuferry_window_fill() - allocate the pages of a window
 * @window: the window, without pages
 * @count: number of pages
 *
 * Context: Process.
 * Return: 0 or -ENOMEM; what was allocated goes with the window.
 */
static int gpuferry_window_fill(struct gpuferry_window *window, unsigned int count)
{
	unsigned int order = GPUFERRY_WINDOW_ORDER;

	window->pages = kvcalloc(count, sizeof(*window->pages), GFP_KERNEL_ACCOUNT);
	if (!window->pages)
		return -ENOMEM;
	while (window->page_count < count) {
		gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO;
		struct page *page;
		unsigned int i;

		if (order > ilog2(count - window->page_count))
			order = ilog2(count - window->page_count);
		if (order)
			flags |= __GFP_NOWARN | __GFP_NORETRY;
		page = alloc_pages(flags, order);
		if (!page) {
			if (!order)
				return -ENOMEM;
			order--;
			continue;
		}
		/* Pages of their own: a mapping may outlive the session. */
		if (order)
			split_page(page, order);
		for (i = 0; i < 1U << order; i++)
			window->pages[window->page_count++] = page + i;
		if (gpuferry_extents_add(&window->extents, page, 1U << order))
			return -ENOMEM;
		cond_resched();
	}
	return 0;
}

/**
 * gpuferry_window_new() - make a window
 * @device: the device that it will be shared with
 *
 * Context: Process.
 * Return: the window, all zeros, or NULL.
 */
static struct gpuferry_window *gpuferry_window_new(const struct gpuferry_device *device)
{
	struct gpuferry_window *window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	unsigned int count = device->window_bytes >> PAGE_SHIFT;

	if (!window)
		return NULL;
	gpuferry_extents_init(&window->extents, count, device->max_chunks);
	if (gpuferry_window_fill(window, count)) {
		gpuferry_window_free(window);
		return NULL;
	}
	return window;
}

/**
 * gpuferry_window_prepare() - have a window ready, where the device still runs
 * @work: device->preparing; the work's reference to the device is dropped
 *
 * Context: Work queue.
 */
void gpuferry_window_prepare(struct work_struct *work)
{
	struct gpuferry_device *device = container_of(to_delayed_work(work),
						      struct gpuferry_device, preparing);
	struct gpuferry_window *window = NULL;
	bool wanted;

	spin_lock_irq(&device->lock);
	wanted = !device->stopped && !device->spare;
	spin_unlock_irq(&device->lock);
	if (wanted)
		window = gpuferry_window_new(device);
	if (window) {
		spin_lock_irq(&device->lock);
		swap(window, device->spare);
		spin_unlock_irq(&device->lock);
		gpuferry_window_free(window);
	}
	gpuferry_device_put(device);
}

/**
 * gpuferry_window_replace() - see to it that a window will be ready
 * @device: the device
 * @delay: not before so many jiffies: whoever took the last one is about to start
 *
 * Context: Any. Does not wait.
 */
void gpuferry_window_replace(struct gpuferry_device *device, unsigned long delay)
{
	unsigned long flags;

	spin_lock_irqsave(&device->lock, flags);
	if (!device->stopped &&
	    queue_delayed_work(gpuferry_workqueue, &device->preparing, delay))
		kref_get(&device->ref);
	spin_unlock_irqrestore(&device->lock, flags);
}

/**
 * gpuferry_window_stop() - make no more windows ready
 * @device: the device, stopped
 *
 * Context: Process. Waits for a window that is being made.
 */
void gpuferry_window_stop(struct gpuferry_device *device)
{
	if (cancel_delayed_work_sync(&device->preparing))
		gpuferry_device_put(device);
}

/**
 * gpuferry_window_take() - a window for a session
 * @device: the device
 *
 * Context: Process.
 * Return: the window, the caller's, or NULL.
 */
struct gpuferry_window *gpuferry_window_take(struct gpuferry_device *device)
{
	struct gpuferry_window *window = NULL;

	spin_lock_irq(&device->lock);
	swap(window, device->spare);
	spin_unlock_irq(&device->lock);
	/* A machine that has slept may have woken beside a host with other windows. */
	if (window && window->page_count == device->window_bytes >> PAGE_SHIFT)
		return window;
	gpuferry_window_free(window);
	return gpuferry_window_new(device);
}
