/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR Apache-2.0 OR MIT */
/* Printed by spec-gen from spec/wire/src/device.rs, which explains each name; do not edit. */
#ifndef _UAPI_GPUFERRY_H
#define _UAPI_GPUFERRY_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GPUFERRY_MAGIC 0x46555047
#define GPUFERRY_DEVICE_MAJOR 1
#define GPUFERRY_DEVICE_MINOR 0
#define GPUFERRY_DEVICE_ID 38

#define GPUFERRY_QUEUE_CONTROL 0
#define GPUFERRY_QUEUE_EVENT 1
#define GPUFERRY_QUEUE_DOORBELL 2
#define GPUFERRY_QUEUE_COUNT 3

#define GPUFERRY_MAX_SESSIONS 256
#define GPUFERRY_MAX_PIN_PAGES 1048576
#define GPUFERRY_MAX_LEASES 65536
#define GPUFERRY_PAGE_BYTES 4096

#define GPUFERRY_CAPABILITY_KEEPS 1

struct gpuferry_config {
	__le32 magic;
	__le16 major;
	__le16 minor;
	__le64 capabilities;
	__le32 max_sessions;
	__le32 window_bytes;
	__le32 max_pin_pages;
	__le32 wire_version;
	__le64 reserved[4];
};

#define GPUFERRY_REQUEST_OPEN 1
#define GPUFERRY_REQUEST_CLOSE 2
#define GPUFERRY_REQUEST_PIN 3
#define GPUFERRY_REQUEST_OPEN_KEPT 5
#define GPUFERRY_REQUEST_UNPIN 4

struct gpuferry_request_header {
	__le32 kind;
	__le32 session;
};

struct gpuferry_extent {
	__le64 address;
	__le32 pages;
	__le32 reserved;
};

struct gpuferry_open_request {
	struct gpuferry_request_header header;
	__le32 extents;
	__le32 process;
	__u8 name[16];
};

#define GPUFERRY_PIN_READ 1
#define GPUFERRY_PIN_WRITE 2

struct gpuferry_pin_request {
	struct gpuferry_request_header header;
	__le32 lease;
	__le32 flags;
	__le64 address;
	__le64 bytes;
	__le32 extents;
	__le32 reserved;
};

struct gpuferry_unpin_request {
	struct gpuferry_request_header header;
	__le32 lease;
	__le32 reserved;
};

#define GPUFERRY_RESPONSE_OK 0
#define GPUFERRY_RESPONSE_INVALID 1
#define GPUFERRY_RESPONSE_NO_WORKER 2
#define GPUFERRY_RESPONSE_DEAD 3
#define GPUFERRY_RESPONSE_LIMIT 4

struct gpuferry_response {
	__le32 status;
	__le32 reserved;
};

#define GPUFERRY_EVENT_WAKE 1
#define GPUFERRY_EVENT_DEAD 2

struct gpuferry_event {
	__le32 kind;
	__le32 session;
};

struct gpuferry_doorbell {
	__le32 session;
	__le32 reserved;
};

#define GPUFERRY_IOCTL_TYPE 0xB7

#define GPUFERRY_UNPIN_LATE 1

struct gpuferry_ioctl_info {
	struct gpuferry_config config;
};

struct gpuferry_ioctl_wait {
	__u32 offset;
	__u32 value;
	__u64 timeout_ns;
};

struct gpuferry_ioctl_pin {
	__u64 address;
	__u64 bytes;
	__u32 flags;
	__u32 lease;
};

struct gpuferry_ioctl_unpin {
	__u32 lease;
	__u32 flags;
};

#define GPUFERRY_IOC_INFO _IOR(GPUFERRY_IOCTL_TYPE, 0, struct gpuferry_ioctl_info)
#define GPUFERRY_IOC_SETUP _IO(GPUFERRY_IOCTL_TYPE, 1)
#define GPUFERRY_IOC_KICK _IO(GPUFERRY_IOCTL_TYPE, 2)
#define GPUFERRY_IOC_WAIT _IOW(GPUFERRY_IOCTL_TYPE, 3, struct gpuferry_ioctl_wait)
#define GPUFERRY_IOC_PIN _IOWR(GPUFERRY_IOCTL_TYPE, 4, struct gpuferry_ioctl_pin)
#define GPUFERRY_IOC_UNPIN _IOW(GPUFERRY_IOCTL_TYPE, 5, struct gpuferry_ioctl_unpin)

#endif /* _UAPI_GPUFERRY_H */
