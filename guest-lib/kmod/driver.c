// SPDX-License-Identifier: GPL-2.0
/*
 * The driver of the gpuferry virtio device: probe, remove, suspend, reboot.
 */
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include "virtio_gpuferry.h"

static struct virtio_device_id gpuferry_ids[] = {
	{ GPUFERRY_DEVICE_ID, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static unsigned int device_id = GPUFERRY_DEVICE_ID;
module_param(device_id, uint, 0444);
MODULE_PARM_DESC(device_id, "Virtio device id to look for");

struct workqueue_struct *gpuferry_workqueue;
static DEFINE_IDA(gpuferry_indices);

/**
 * gpuferry_device_release() - free a device
 * @ref: its last reference
 *
 * Context: Process.
 */
static void gpuferry_device_release(struct kref *ref)
{
	struct gpuferry_device *device = container_of(ref, struct gpuferry_device, ref);

	gpuferry_window_free(device->spare);
	kfree(device);
}

/**
 * gpuferry_device_put() - let go of a device
 * @device: the device
 *
 * Context: Process.
 */
void gpuferry_device_put(struct gpuferry_device *device)
{
	kref_put(&device->ref, gpuferry_device_release);
}

/**
 * gpuferry_config_limit() - check a limit in the configuration space
 * @device: the device
 * @name: of the field
 * @found: its value
 * @most: largest value allowed
 *
 * Context: Process.
 * Return: whether it is at least 1 and at most @most.
 */
static bool gpuferry_config_limit(struct gpuferry_device *device, const char *name, u32 found,
				  u32 most)
{
	if (found && found <= most)
		return true;
	dev_err(&device->vdev->dev, "%s is %u, expected 1 to %u\n", name, found, most);
	return false;
}

/**
 * gpuferry_config_read() - read the configuration space and check it
 * @device: the device
 *
 * Each field is read once and by itself: some transports pay for every access with a
 * message to the device.
 *
 * Context: Process.
 * Return: 0 or -EINVAL.
 */
static int gpuferry_config_read(struct gpuferry_device *device)
{
	struct virtio_device *vdev = device->vdev;
	u32 magic, max_sessions, window_bytes, max_pin_pages, wire_version;
	u16 major, minor;
	u64 capabilities;

	virtio_cread_le(vdev, struct gpuferry_config, magic, &magic);
	if (magic != GPUFERRY_MAGIC) {
		dev_err(&vdev->dev, "not a gpuferry device: magic is %#010x, expected %#010x\n",
			magic, GPUFERRY_MAGIC);
		return -EINVAL;
	}
	virtio_cread_le(vdev, struct gpuferry_config, major, &major);
	virtio_cread_le(vdev, struct gpuferry_config, minor, &minor);
	if (major != GPUFERRY_DEVICE_MAJOR) {
		dev_err(&vdev->dev, "device version is %u.%u, expected %u.x\n", major, minor,
			GPUFERRY_DEVICE_MAJOR);
		return -EINVAL;
	}
	virtio_cread_le(vdev, struct gpuferry_config, capabilities, &capabilities);
	virtio_cread_le(vdev, struct gpuferry_config, max_sessions, &max_sessions);
	virtio_cread_le(vdev, struct gpuferry_config, window_bytes, &window_bytes);
	virtio_cread_le(vdev, struct gpuferry_config, max_pin_pages, &max_pin_pages);
	virtio_cread_le(vdev, struct gpuferry_config, wire_version, &wire_version);
	if (!gpuferry_config_limit(device, "max_sessions", max_sessions, GPUFERRY_MAX_SESSIONS) ||
	    !gpuferry_config_limit(device, "window_bytes", window_bytes, GPUFERRY_WINDOW_MAX) ||
	    !gpuferry_config_limit(device, "max_pin_pages", max_pin_pages, GPUFERRY_MAX_PIN_PAGES))
		return -EINVAL;
	if (window_bytes % GPUFERRY_PAGE_BYTES) {
		dev_err(&vdev->dev, "window_bytes is %u, expected a multiple of %u\n",
			window_bytes, GPUFERRY_PAGE_BYTES);
		return -EINVAL;
	}

	device->max_sessions = max_sessions;
	device->window_bytes = window_bytes;
	device->max_pin_pages = max_pin_pages;
	device->config = (struct gpuferry_config) {
		.magic = cpu_to_le32(magic),
		.major = cpu_to_le16(major),
		.minor = cpu_to_le16(minor),
		.capabilities = cpu_to_le64(capabilities),
		.max_sessions = cpu_to_le32(max_sessions),
		.window_bytes = cpu_to_le32(window_bytes),
		.max_pin_pages = cpu_to_le32(max_pin_pages),
		.wire_version = cpu_to_le32(wire_version),
	};
	return 0;
}

/**
 * gpuferry_node_add() - make a device node
 * @device: the device
 * @node: the node, its name set
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
static int gpuferry_node_add(struct gpuferry_device *device, struct gpuferry_node *node)
{
	int error;

	node->device = device;
	node->misc.minor = MISC_DYNAMIC_MINOR;
	node->misc.name = node->name;
	node->misc.fops = &gpuferry_fops;
	node->misc.parent = &device->vdev->dev;
	node->misc.mode = 0666;
	error = misc_register(&node->misc);
	if (error) {
		dev_err(&device->vdev->dev, "no device node %s: error %d\n", node->name, error);
		node->device = NULL;
	}
	return error;
}

/**
 * gpuferry_nodes_remove() - remove the device nodes there are
 * @device: the device
 *
 * Context: Process. Open files stay.
 */
static void gpuferry_nodes_remove(struct gpuferry_device *device)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(device->nodes); i++) {
		if (device->nodes[i].device)
			misc_deregister(&device->nodes[i].misc);
	}
}

/**
 * gpuferry_nodes_add() - make the device nodes
 * @device: the device
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
static int gpuferry_nodes_add(struct gpuferry_device *device)
{
	int error;

	snprintf(device->nodes[0].name, sizeof(device->nodes[0].name), "gpuferry%d", device->index);
	error = gpuferry_node_add(device, &device->nodes[0]);
	if (!error && !device->index) {
		strscpy(device->nodes[1].name, "gpuferry", sizeof(device->nodes[1].name));
		error = gpuferry_node_add(device, &device->nodes[1]);
	}
	if (error)
		gpuferry_nodes_remove(device);
	return error;
}

/**
 * gpuferry_reboot() - the machine is about to restart or to run another kernel
 * @notifier: device->reboot
 * @action: not used
 * @data: not used
 *
 * The next kernel does not know which pages are lent.
 *
 * Context: Process.
 * Return: NOTIFY_DONE.
 */
static int gpuferry_reboot(struct notifier_block *notifier, unsigned long action, void *data)
{
	gpuferry_queues_stop(container_of(notifier, struct gpuferry_device, reboot));
	return NOTIFY_DONE;
}

/**
 * gpuferry_validate() - refuse devices and features that cannot work
 * @vdev: the virtio device
 *
 * Context: Process.
 * Return: 0, -ENODEV or -EOPNOTSUPP.
 */
static int gpuferry_validate(struct virtio_device *vdev)
{
	if (PAGE_SIZE != GPUFERRY_PAGE_BYTES) {
		dev_err(&vdev->dev, "kernel pages have %lu bytes, expected %u\n", PAGE_SIZE,
			GPUFERRY_PAGE_BYTES);
		return -EOPNOTSUPP;
	}
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "legacy device, expected VIRTIO_F_VERSION_1\n");
		return -ENODEV;
	}
	/* Extents are guest-physical addresses, whatever an IOMMU does. */
	__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	return 0;
}

/**
 * gpuferry_probe() - drive a device
 * @vdev: the virtio device
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
static int gpuferry_probe(struct virtio_device *vdev)
{
	struct gpuferry_device *device;
	int error;

	if (!vdev->config->get) {
		dev_err(&vdev->dev, "no access to the configuration space\n");
		return -EINVAL;
	}
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return -ENOMEM;
	kref_init(&device->ref);
	spin_lock_init(&device->lock);
	INIT_LIST_HEAD(&device->backlog);
	INIT_DELAYED_WORK(&device->preparing, gpuferry_window_prepare);
	device->stopped = true;
	device->vdev = vdev;
	device->reboot.notifier_call = gpuferry_reboot;
	vdev->priv = device;

	error = gpuferry_config_read(device);
	if (error)
		goto put;
	device->index = ida_alloc(&gpuferry_indices, GFP_KERNEL);
	if (device->index < 0) {
		error = device->index;
		goto put;
	}
	error = gpuferry_queues_start(device);
	if (error)
		goto free_index;
	error = gpuferry_nodes_add(device);
	if (error)
		goto stop;
	register_reboot_notifier(&device->reboot);
	gpuferry_window_replace(device, 0);
	dev_info(&vdev->dev, "%s: version %u.%u, %u sessions, windows of %u KiB, leases of %u pages\n",
		 device->nodes[0].name, le16_to_cpu(device->config.major),
		 le16_to_cpu(device->config.minor), device->max_sessions,
		 device->window_bytes >> 10, device->max_pin_pages);
	return 0;

stop:
	gpuferry_queues_stop(device);
free_index:
	ida_free(&gpuferry_indices, device->index);
put:
	vdev->priv = NULL;
	gpuferry_device_put(device);
	return error;
}

/**
 * gpuferry_remove() - stop driving a device
 * @vdev: the virtio device
 *
 * Open files stay, and all they are used for fails with -EPIPE.
 *
 * Context: Process.
 */
static void gpuferry_remove(struct virtio_device *vdev)
{
	struct gpuferry_device *device = vdev->priv;

	unregister_reboot_notifier(&device->reboot);
	gpuferry_nodes_remove(device);
	gpuferry_queues_stop(device);
	ida_free(&gpuferry_indices, device->index);
	vdev->priv = NULL;
	gpuferry_device_put(device);
}

#ifdef CONFIG_PM_SLEEP
/**
 * gpuferry_freeze() - the machine is about to sleep
 * @vdev: the virtio device
 *
 * What a worker holds does not survive, so the sessions end.
 *
 * Context: Process.
 * Return: 0.
 */
static int gpuferry_freeze(struct virtio_device *vdev)
{
	gpuferry_queues_stop(vdev->priv);
	return 0;
}

/**
 * gpuferry_restore() - the machine has woken
 * @vdev: the virtio device
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
static int gpuferry_restore(struct virtio_device *vdev)
{
	struct gpuferry_device *device = vdev->priv;
	int error;

	error = gpuferry_config_read(device);
	if (error)
		return error;
	return gpuferry_queues_start(device);
}
#endif

static struct virtio_driver gpuferry_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = gpuferry_ids,
	.validate = gpuferry_validate,
	.probe = gpuferry_probe,
	.remove = gpuferry_remove,
#ifdef CONFIG_PM_SLEEP
	.freeze = gpuferry_freeze,
	.restore = gpuferry_restore,
#endif
};

/**
 * gpuferry_init() - load the module
 *
 * Context: Process.
 * Return: 0 or an error number.
 */
static int __init gpuferry_init(void)
{
	int error;

	gpuferry_workqueue = alloc_workqueue("gpuferry", WQ_UNBOUND, 0);
	if (!gpuferry_workqueue)
		return -ENOMEM;
	gpuferry_ids[0].device = device_id;
	error = register_virtio_driver(&gpuferry_driver);
	if (error)
		destroy_workqueue(gpuferry_workqueue);
	return error;
}
module_init(gpuferry_init);

/**
 * gpuferry_exit() - unload the module; no file is open
 *
 * Context: Process.
 */
static void __exit gpuferry_exit(void)
{
	unregister_virtio_driver(&gpuferry_driver);
	destroy_workqueue(gpuferry_workqueue);
	ida_destroy(&gpuferry_indices);
}
module_exit(gpuferry_exit);

MODULE_DEVICE_TABLE(virtio, gpuferry_ids);
MODULE_DESCRIPTION("gpuferry: GPU calls carried to the host");
MODULE_AUTHOR("The gpuferry authors");
MODULE_LICENSE("GPL");
