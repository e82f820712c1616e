// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/gpuferry: what a process calls.
 *
 * A session belongs to the address space that set it up. Any other that has got the
 * open file (a child after fork, a process after exec, one that was sent the file) can
 * ask IOCTL_INFO and close the file, and gets -EPERM for everything else.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "virtio_gpuferry.h"

/**
 * gpuferry_file_session() - the session of an open file, if it is the caller's
 * @state: the open file
 *
 * Context: Process.
 * Return: the session, or an error pointer: -EINVAL before SETUP has succeeded, -EPERM.
 */
static struct gpuferry_session *gpuferry_file_session(struct gpuferry_file *state)
{
	/* Pairs with gpuferry_file_setup(). */
	struct gpuferry_session *session = smp_load_acquire(&state->session);

	if (!session)
		return ERR_PTR(-EINVAL);
	if (session->mm != current->mm)
		return ERR_PTR(-EPERM);
	return session;
}

/**
 * gpuferry_file_open() - open the device node
 * @inode: of the node
 * @file: the file
 *
 * The misc core holds its lock over this call and removes the node under it, so the
 * node's device is there.
 *
 * Context: Process.
 * Return: 0 or -ENOMEM.
 */
static int gpuferry_file_open(struct inode *inode, struct file *file)
{
	struct gpuferry_node *node = container_of(file->private_data, struct gpuferry_node, misc);
	struct gpuferry_file *state = kzalloc(sizeof(*state), GFP_KERNEL_ACCOUNT);

	if (!state)
		return -ENOMEM;
	kref_get(&node->device->ref);
	state->device = node->device;
	file->private_data = state;
	return nonseekable_open(inode, file);
}

/**
 * gpuferry_file_release() - the last descriptor and mapping of an open file are gone
 * @inode: of the node
 * @file: the file
 *
 * Context: Process. Does not wait for the device.
 * Return: 0.
 */
static int gpuferry_file_release(struct inode *inode, struct file *file)
{
	struct gpuferry_file *state = file->private_data;

	if (state->session) {
		gpuferry_session_close(state->session);
		gpuferry_session_put(state->session);
	}
	gpuferry_device_put(state->device);
	kfree(state);
	return 0;
}

/**
 * gpuferry_file_info() - IOCTL_INFO
 * @state: the open file
 * @argument: struct gpuferry_ioctl_info of the caller
 *
 * Context: Process.
 * Return: 0 or -EFAULT.
 */
static int gpuferry_file_info(struct gpuferry_file *state, void __user *argument)
{
	struct gpuferry_ioctl_info info = { .config = state->device->config };

	return copy_to_user(argument, &info, sizeof(info)) ? -EFAULT : 0;
}

/**
 * gpuferry_file_setup() - IOCTL_SETUP
 * @state: the open file
 *
 * Context: Process.
 * Return: 0; -EBUSY when it has been done or is being done; else as
 * gpuferry_session_open(), and it may be tried again.
 */
static int gpuferry_file_setup(struct gpuferry_file *state)
{
	struct gpuferry_session *session;

	if (test_and_set_bit(0, &state->setting_up))
		return -EBUSY;
	session = gpuferry_session_open(state->device);
	if (IS_ERR(session)) {
		clear_bit_unlock(0, &state->setting_up);
		return PTR_ERR(session);
	}
	/* Pairs with gpuferry_file_session(). */
	smp_store_release(&state->session, session);
	return 0;
}

/**
 * gpuferry_file_wait() - IOCTL_WAIT
 * @session: a session of the caller's
 * @argument: struct gpuferry_ioctl_wait of the caller
 *
 * Context: Process.
 * Return: -EFAULT, else as gpuferry_session_wait().
 */
static int gpuferry_file_wait(struct gpuferry_session *session, void __user *argument)
{
	struct gpuferry_ioctl_wait wait;

	if (copy_from_user(&wait, argument, sizeof(wait)))
		return -EFAULT;
	return gpuferry_session_wait(session, wait.offset, wait.value, wait.timeout_ns);
}

/**
 * gpuferry_file_pin() - IOCTL_PIN
 * @session: a session of the caller's
 * @argument: struct gpuferry_ioctl_pin of the caller
 *
 * Context: Process.
 * Return: as gpuferry_lease_pin().
 */
static int gpuferry_file_pin(struct gpuferry_session *session, void __user *argument)
{
	struct gpuferry_ioctl_pin pin;
	int error;

	if (copy_from_user(&pin, argument, sizeof(pin)))
		return -EFAULT;
	error = gpuferry_lease_pin(session, &pin);
	if (error)
		return error;
	if (copy_to_user(argument, &pin, sizeof(pin))) {
		struct gpuferry_ioctl_unpin unpin = { .lease = pin.lease };

		/* The caller does not know the number, so nobody else would end the lease. */
		gpuferry_lease_unpin(session, &unpin);
		return -EFAULT;
	}
	return 0;
}

/**
 * gpuferry_file_unpin() - IOCTL_UNPIN
 * @session: a session of the caller's
 * @argument: struct gpuferry_ioctl_unpin of the caller
 *
 * Context: Process.
 * Return: -EFAULT, -EINVAL, else as gpuferry_lease_unpin().
 */
static int gpuferry_file_unpin(struct gpuferry_session *session, void __user *argument)
{
	struct gpuferry_ioctl_unpin unpin;

	if (copy_from_user(&unpin, argument, sizeof(unpin)))
		return -EFAULT;
	if (unpin.flags & ~GPUFERRY_UNPIN_LATE)
		return -EINVAL;
	return gpuferry_lease_unpin(session, &unpin);
}

/**
 * gpuferry_file_ioctl() - ioctl
 * @file: the file
 * @command: GPUFERRY_IOC_*
 * @argument: address of the command's structure
 *
 * Context: Process.
 * Return: 0 or an error number; -ENOTTY for an unknown command.
 */
static long gpuferry_file_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	struct gpuferry_file *state = file->private_data;
	struct gpuferry_session *session;

	if (command == GPUFERRY_IOC_INFO)
		return gpuferry_file_info(state, user);
	if (command == GPUFERRY_IOC_SETUP)
		return gpuferry_file_setup(state);
	session = gpuferry_file_session(state);
	if (IS_ERR(session))
		return PTR_ERR(session);
	switch (command) {
	case GPUFERRY_IOC_KICK:
		return gpuferry_ring(session);
	case GPUFERRY_IOC_WAIT:
		return gpuferry_file_wait(session, user);
	case GPUFERRY_IOC_PIN:
		return gpuferry_file_pin(session, user);
	case GPUFERRY_IOC_UNPIN:
		return gpuferry_file_unpin(session, user);
	default:
		return -ENOTTY;
	}
}

/**
 * gpuferry_file_mmap() - mmap
 * @file: the file
 * @vma: where
 *
 * Context: Process, mmap_lock held.
 * Return: as gpuferry_file_session() and gpuferry_session_map().
 */
static int gpuferry_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct gpuferry_session *session = gpuferry_file_session(file->private_data);

	if (IS_ERR(session))
		return PTR_ERR(session);
	return gpuferry_session_map(session, vma);
}

const struct file_operations gpuferry_fops = {
	.owner = THIS_MODULE,
	.open = gpuferry_file_open,
	.release = gpuferry_file_release,
	.unlocked_ioctl = gpuferry_file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = gpuferry_file_mmap,
};
