/* SPDX-License-Identifier: GPL-2.0 */
/*
 * virtio_gpuferry: /dev/gpuferry, the guest's end of the gpuferry device
 *
 * Read in this order: driver.c (probe, remove, suspend), file.c (what a process
 * calls), window.c (a session's memory), session.c (OPEN and CLOSE), wait.c, lease.c
 * (PIN and UNPIN), extents.c (lists of pages), then the virtqueues: queues.c (setting
 * up), control.c, event.c, doorbell.c. What crosses them is spec/device.md.
 *
 * Who keeps what alive:
 *  - A device is held by its driver binding, by each open file and by each
 *    session. Its virtqueues exist while !stopped; whoever uses one holds
 *    device->lock or, to notify, rcu_read_lock().
 *  - A session is held by the open file that set it up and by device->sessions[].
 *    The table lets go (gpuferry_session_retire()) when the device has answered
 *    CLOSE and everything before it, or has been reset. Until then the device may
 *    use the session's memory, whatever became of the process.
 *  - The window's pages live as long as the session; leased pages stay pinned
 *    until their UNPIN is answered or the table lets go of the session.
 *
 * Locks, outermost first:
 *   mmap_lock -> session->lock (mutex) -> device->lock (spinlock, irq-safe)
 *   -> session->waiters.lock
 * No lock is held while waiting for the device.
 */
#ifndef _VIRTIO_GPUFERRY_H
#define _VIRTIO_GPUFERRY_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/version.h>
#include <linux/virtio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "uapi/gpuferry.h"

/* Largest window accepted from the configuration space, in bytes. */
#define GPUFERRY_WINDOW_MAX (64U << 20)
/* Most descriptors of a request: the request, its extents in chunks, the response. */
#define GPUFERRY_DESCRIPTORS 256
/* Smallest control queue; then the longest lists of extents may not fit. */
#define GPUFERRY_CONTROL_MIN 64
/* Buffers kept in the event queue, unless it is smaller. */
#define GPUFERRY_EVENTS 64

/**
 * struct gpuferry_chunk - a piece of a list of extents
 * @list: in gpuferry_extents.chunks
 * @used: extents in use
 * @room: extents there are
 * @extents: the extents, as the device reads them
 */
struct gpuferry_chunk {
	struct list_head list;
	unsigned int used;
	unsigned int room;
	struct gpuferry_extent extents[];
};

/**
 * struct gpuferry_extents - guest-physical pages in the order of their addresses
 * @chunks: of struct gpuferry_chunk, each longer than the one before
 * @chunk_count: number of @chunks
 * @chunk_limit: most chunks that fit the control queue
 * @count: number of extents
 * @limit: most extents that will be needed
 * @next: page that would lengthen the last extent
 */
struct gpuferry_extents {
	struct list_head chunks;
	unsigned int chunk_count;
	unsigned int chunk_limit;
	unsigned int count;
	unsigned int limit;
	struct page *next;
};

/**
 * struct gpuferry_window - memory that a process shares with its worker
 * @pages: its pages
 * @page_count: number of @pages
 * @extents: @pages as the device is told of them
 */
struct gpuferry_window {
	struct page **pages;
	unsigned int page_count;
	struct gpuferry_extents extents;
};

/**
 * struct gpuferry_node - a device node in /dev
 * @misc: the misc device; its name is @name
 * @device: the device behind it
 * @name: name in /dev
 */
struct gpuferry_node {
	struct miscdevice misc;
	struct gpuferry_device *device;
	char name[24];
};

/**
 * struct gpuferry_bell - the doorbell of one session number
 * @buffer: what the device reads; never changes, so it may be in the queue at any time
 * @queued: @buffer is in the doorbell queue
 * @again: rung while @queued: queue it once more when it comes back
 * @taken: how often it has come back
 */
struct gpuferry_bell {
	struct gpuferry_doorbell buffer;
	bool queued;
	bool again;
	unsigned int taken;
};

/**
 * struct gpuferry_event_buffer - a buffer of the event queue
 * @event: written by the device
 */
struct gpuferry_event_buffer {
	struct gpuferry_event event;
} ____cacheline_aligned;

/**
 * struct gpuferry_device - one virtio device
 * @ref: see the top of this file
 * @vdev: the virtio device; used only while !@stopped or by the driver's own callbacks
 * @index: number in the nodes' names
 * @nodes: "gpuferryN", and for the first device "gpuferry"
 * @reboot: stops the device before the machine restarts
 * @config: the configuration space as read at probe
 * @max_sessions: session numbers in use by this driver
 * @window_bytes: size of each window
 * @max_pin_pages: most pages of one lease
 * @max_chunks: most chunks of extents of a request, from the size of @control
 * @preparing: makes @spare
 * @lock: protects everything below
 * @stopped: the virtqueues are gone or going, and the device is or will be reset
 * @ending: no session may be opened any more; protected by @lock
 * @control: requests
 * @event: events
 * @doorbell: doorbells
 * @backlog: requests that found no room in @control, oldest first
 * @sg: scatterlist of the request being queued
 * @sessions: by number
 * @bells: by session number
 * @again: how many of @bells have `again` set
 * @events: buffers of the event queue
 * @spare: a window for the next session, or NULL
 */
struct gpuferry_device {
	struct kref ref;
	struct virtio_device *vdev;
	int index;
	struct gpuferry_node nodes[2];
	struct notifier_block reboot;
	struct gpuferry_config config;
	u32 max_sessions;
	u32 window_bytes;
	u32 max_pin_pages;
	u32 max_chunks;
	struct delayed_work preparing;

	spinlock_t lock; /* see @lock above */
	bool stopped;
	bool ending;
	struct virtqueue *control;
	struct virtqueue *event;
	struct virtqueue *doorbell;
	struct list_head backlog;
	struct scatterlist sg[GPUFERRY_DESCRIPTORS];
	struct gpuferry_session *sessions[GPUFERRY_MAX_SESSIONS];
	struct gpuferry_bell bells[GPUFERRY_MAX_SESSIONS];
	unsigned int again;
	struct gpuferry_event_buffer events[GPUFERRY_EVENTS];
	struct gpuferry_window *spare;
};

/**
 * struct gpuferry_session - a process's connection to its worker
 * @ref: see the top of this file
 * @device: held
 * @number: index in @device->sessions
 * @mm: the address space that set the session up (mmgrab'ed, may be empty by now)
 * @leased_pages: pages of its leases
 * @window: its window
 * @mappings: areas of @mm that map the window
 * @waiters: threads in IOCTL_WAIT
 * @dead: the worker has ended or the session is being closed; only ever set
 * @lock: serialises what queues requests against CLOSE; protects @closing and @mapped
 * @opened: the device has opened it; only ever set
 * @closing: CLOSE has been queued; nothing may be queued after it
 * @mapped: the window has been mapped
 * @leases: by number; protected by its own lock, taken with interrupts on
 * @unpinning: UNPINs whose answer nobody waits for
 * @unpinned: woken when there are none any more
 * @close: the CLOSE request, made beforehand so that closing cannot fail
 * @outstanding: requests that the device has not answered; protected by @device->lock
 * @closed: the device has no use of the session any more; protected by @device->lock
 * @retired: @teardown has been scheduled; protected by @device->lock
 * @teardown: frees what only the device kept in use
 */
struct gpuferry_session {
	struct kref ref;
	struct gpuferry_device *device;
	u32 number;
	struct mm_struct *mm;
	atomic64_t leased_pages;
	struct gpuferry_window *window;
	refcount_t mappings;
	wait_queue_head_t waiters;
	bool dead;

	struct mutex lock; /* see @lock above */
	bool opened;
	bool closing;
	bool mapped;
	struct xarray leases;
	atomic_t unpinning;
	wait_queue_head_t unpinned;
	struct gpuferry_request *close;

	unsigned int outstanding;
	bool closed;
	bool retired;
	struct work_struct teardown;
};

/**
 * enum gpuferry_lease_state - life of a lease, protected by the lock of session->leases
 * @GPUFERRY_LEASE_NEW: PIN is not answered
 * @GPUFERRY_LEASE_LIVE: the device has it
 * @GPUFERRY_LEASE_ENDING: UNPIN is queued, or cannot be
 */
enum gpuferry_lease_state {
	GPUFERRY_LEASE_NEW,
	GPUFERRY_LEASE_LIVE,
	GPUFERRY_LEASE_ENDING,
};

/**
 * struct gpuferry_lease - pinned pages of the process
 * @ref: held by session->leases, by the thread working on it and by a PIN in the queue
 * @number: index in session->leases
 * @state: see there
 * @page_count: pages pinned and accounted
 * @writable: the device may have written them
 * @extents: the pages
 */
struct gpuferry_lease {
	struct kref ref;
	u32 number;
	enum gpuferry_lease_state state;
	unsigned long page_count;
	bool writable;
	struct gpuferry_extents extents;
};

/**
 * struct gpuferry_request - a request of the control queue
 * @ref: held by the thread that made it and, until answered, by the queue
 * @backlog: in device->backlog
 * @session: the session; stays in the table while the request is outstanding
 * @lease: of a PIN, held
 * @extents: follow the request, or NULL
 * @bytes: size of the member of @wire in use
 * @late: nobody waits for the answer: @finish acts on it
 * @finish: of an UNPIN, see gpuferry_lease_finish()
 * @answered: completed when @valid and @error are set
 * @valid: the answer was complete, so it can be relied on
 * @error: the answer as an error number
 * @wire: the request
 * @response: written by the device
 */
struct gpuferry_request {
	struct kref ref;
	struct list_head backlog;
	struct gpuferry_session *session;
	struct gpuferry_lease *lease;
	const struct gpuferry_extents *extents;
	size_t bytes;
	bool late;
	struct work_struct finish;
	struct completion answered;
	bool valid;
	int error;
	union {
		struct gpuferry_request_header header;
		struct gpuferry_open_request open;
		struct gpuferry_pin_request pin;
		struct gpuferry_unpin_request unpin;
	} wire;
	struct gpuferry_response response ____cacheline_aligned;
};

/**
 * struct gpuferry_file - an open file
 * @device: held
 * @setting_up: bit 0 is taken by the one SETUP that may run or has succeeded
 * @session: held; set once, by SETUP, with release semantics
 */
struct gpuferry_file {
	struct gpuferry_device *device;
	unsigned long setting_up;
	struct gpuferry_session *session;
};

/* driver.c */
extern struct workqueue_struct *gpuferry_workqueue;
void gpuferry_device_put(struct gpuferry_device *device);

/* file.c */
extern const struct file_operations gpuferry_fops;

/* session.c */
struct gpuferry_session *gpuferry_session_open(struct gpuferry_device *device);
void gpuferry_session_close(struct gpuferry_session *session);
void gpuferry_session_put(struct gpuferry_session *session);
void gpuferry_session_retire(struct gpuferry_session *session);
int gpuferry_session_map(struct gpuferry_session *session, struct vm_area_struct *vma);

/* window.c */
void gpuferry_window_free(struct gpuferry_window *window);
void gpuferry_window_prepare(struct work_struct *work);
void gpuferry_window_replace(struct gpuferry_device *device, unsigned long delay);
void gpuferry_window_stop(struct gpuferry_device *device);
struct gpuferry_window *gpuferry_window_take(struct gpuferry_device *device);

/* wait.c */
int gpuferry_session_wait(struct gpuferry_session *session, u32 offset, u32 value, u64 timeout_ns);

/* extents.c */
void gpuferry_extents_init(struct gpuferry_extents *extents, unsigned int limit,
			   unsigned int chunk_limit);
int gpuferry_extents_add(struct gpuferry_extents *extents, struct page *page, unsigned int count);
void gpuferry_extents_free(struct gpuferry_extents *extents);

/* lease.c */
int gpuferry_lease_pin(struct gpuferry_session *session, struct gpuferry_ioctl_pin *pin);
int gpuferry_lease_unpin(struct gpuferry_session *session, const struct gpuferry_ioctl_unpin *unpin);
void gpuferry_lease_end_all(struct gpuferry_session *session);
void gpuferry_lease_put(struct gpuferry_lease *lease);

/* control.c */
struct gpuferry_request *gpuferry_request_new(struct gpuferry_session *session, u32 kind);
int gpuferry_request_submit(struct gpuferry_request *request);
int gpuferry_request_wait(struct gpuferry_request *request);
void gpuferry_request_put(struct gpuferry_request *request);
void gpuferry_requests_detach(struct gpuferry_device *device);
void gpuferry_requests_abort(struct gpuferry_device *device);
void gpuferry_control_callback(struct virtqueue *vq);

/* event.c */
int gpuferry_event_queue(struct gpuferry_device *device, struct gpuferry_event_buffer *buffer);
void gpuferry_events_handle(struct gpuferry_device *device);
void gpuferry_event_callback(struct virtqueue *vq);

/* doorbell.c */
void gpuferry_bells_reset(struct gpuferry_device *device);
int gpuferry_ring(struct gpuferry_session *session);
unsigned int gpuferry_bells_taken(struct gpuferry_session *session);
void gpuferry_doorbell_callback(struct virtqueue *vq);

/* queues.c */
int gpuferry_queues_start(struct gpuferry_device *device);
void gpuferry_queues_stop(struct gpuferry_device *device);

#endif /* _VIRTIO_GPUFERRY_H */
