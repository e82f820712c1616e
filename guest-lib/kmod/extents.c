// SPDX-License-Identifier: GPL-2.0
/*
 * Lists of pages as the device reads them.
 *
 * A list can need 16 MiB and is one request of at most GPUFERRY_DESCRIPTORS pieces, so
 * it lies in chunks that double in size from 4 to 128 KiB. Where memory is too
 * fragmented for a large chunk, a smaller one is taken, as long as there are descriptors.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "virtio_gpuferry.h"

/* Extents in a chunk of 4 KiB and of 128 KiB. */
#define GPUFERRY_CHUNK_MIN ((4096 - sizeof(struct gpuferry_chunk)) / sizeof(struct gpuferry_extent))
#define GPUFERRY_CHUNK_MAX \
	((131072 - sizeof(struct gpuferry_chunk)) / sizeof(struct gpuferry_extent))

/**
 * gpuferry_extents_init() - make an empty list of extents
 * @extents: the list
 * @limit: most pages that will be added
 * @chunk_limit: most chunks that fit the control queue
 *
 * Context: Any.
 */
void gpuferry_extents_init(struct gpuferry_extents *extents, unsigned int limit,
			   unsigned int chunk_limit)
{
	INIT_LIST_HEAD(&extents->chunks);
	extents->limit = limit;
	extents->chunk_limit = chunk_limit;
}

/**
 * gpuferry_extents_free() - free a list of extents
 * @extents: the list
 *
 * Context: Any.
 */
void gpuferry_extents_free(struct gpuferry_extents *extents)
{
	struct gpuferry_chunk *chunk, *next;

	list_for_each_entry_safe(chunk, next, &extents->chunks, list)
		kfree(chunk);
}

/**
 * gpuferry_extents_grow() - append a chunk to a list of extents
 * @extents: the list
 * @last: its last chunk, or NULL
 *
 * Context: Process.
 * Return: the chunk, or NULL.
 */
static struct gpuferry_chunk *gpuferry_extents_grow(struct gpuferry_extents *extents,
						    const struct gpuferry_chunk *last)
{
	size_t room = last ? min_t(size_t, 2 * last->room + 1, GPUFERRY_CHUNK_MAX) :
			     GPUFERRY_CHUNK_MIN;
	struct gpuferry_chunk *chunk;

	if (extents->chunk_count == extents->chunk_limit)
		return NULL;
	room = min_t(size_t, room, extents->limit - extents->count);
	for (;;) {
		gfp_t flags = GFP_KERNEL_ACCOUNT;

		if (room > GPUFERRY_CHUNK_MIN)
			flags |= __GFP_NORETRY | __GFP_NOWARN;
		chunk = kmalloc(struct_size(chunk, extents, room), flags);
		if (chunk || room <= GPUFERRY_CHUNK_MIN)
			break;
		room /= 2;
	}
	if (!chunk)
		return NULL;
	chunk->used = 0;
	chunk->room = room;
	list_add_tail(&chunk->list, &extents->chunks);
	extents->chunk_count++;
	return chunk;
}

/**
 * gpuferry_extents_add() - append pages to a list of extents
 * @extents: the list
 * @page: the first page
 * @count: how many, contiguous
 *
 * Context: Process.
 * Return: 0 or -ENOMEM.
 */
int gpuferry_extents_add(struct gpuferry_extents *extents, struct page *page, unsigned int count)
{
	struct gpuferry_chunk *chunk = NULL;
	struct gpuferry_extent *extent;

	if (!list_empty(&extents->chunks))
		chunk = list_last_entry(&extents->chunks, struct gpuferry_chunk, list);
	/* Contiguous both as pages and as struct pages, which unpinning relies on. */
	if (chunk && page == extents->next && page_to_pfn(page) == page_to_pfn(page - 1) + 1) {
		le32_add_cpu(&chunk->extents[chunk->used - 1].pages, count);
		extents->next = page + count;
		return 0;
	}
	if (!chunk || chunk->used == chunk->room)
		chunk = gpuferry_extents_grow(extents, chunk);
	if (!chunk)
		return -ENOMEM;
	extent = &chunk->extents[chunk->used++];
	extent->address = cpu_to_le64(page_to_phys(page));
	extent->pages = cpu_to_le32(count);
	extent->reserved = 0;
	extents->count++;
	extents->next = page + count;
	return 0;
}
