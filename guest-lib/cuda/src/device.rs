//! Devices, from a snapshot that cuInit takes: no call here leaves the process.

use crate::CUresult;
use crate::caller::{self, Caller};
use crate::generated::send;
use crate::handles::Handle;
use crate::program::{Out, Text, fill_text};
use crate::status::{CUDA_ERROR_INVALID_DEVICE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_UNKNOWN};
use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use rt::Buffer;
use std::sync::{Mutex, OnceLock, PoisonError};
use wire::payload::Reader;

/// Number of attributes in a snapshot: 1 to this.
pub const ATTRIBUTES: usize = 160;
/// Bytes of the snapshot of a device: its name, uuid, luid with mask and status, memory, a count with padding, the attributes.
pub const SNAPSHOT_BYTES: usize = 256 + 16 + 8 + 4 + 4 + 8 + 8 + 8 * ATTRIBUTES;

/// `CUdevice_attribute` numbers that the guest itself uses.
pub mod attribute {
    /// Threads of a block.
    pub const MAX_THREADS_PER_BLOCK: i32 = 1;
    /// Block size along x; y and z follow.
    pub const MAX_BLOCK_DIM_X: i32 = 2;
    /// Grid size along x; y and z follow.
    pub const MAX_GRID_DIM_X: i32 = 5;
    /// Registers of a block.
    pub const MAX_REGISTERS_PER_BLOCK: i32 = 12;
    /// Multiprocessors.
    pub const MULTIPROCESSOR_COUNT: i32 = 16;
    /// Other devices can reach device memory directly.
    pub const GPU_DIRECT_RDMA: i32 = 116;
    /// Kernels reach the program's pageable memory: its pages are not the worker's.
    pub const PAGEABLE_MEMORY_ACCESS: i32 = 88;
    /// Program and device may use managed memory at once: variables of a module lie here and there ([`crate::managed`]).
    pub const CONCURRENT_MANAGED_ACCESS: i32 = 89;
    /// Kernels use the program's page tables.
    pub const PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES: i32 = 100;
    /// The program reaches managed memory on the device without moving it.
    pub const DIRECT_MANAGED_MEM_ACCESS_FROM_HOST: i32 = 101;
    /// How memory of pools may be given to other processes: `CUmemAllocationHandleType`s.
    pub const MEMPOOL_SUPPORTED_HANDLE_TYPES: i32 = 119;
    /// Those of them that are carried: file descriptors.
    pub const HANDLE_TYPES: i32 = 1;
    /// Those that are 0 here whatever the device answers: what they promise needs one address space for program and device, or is
    /// not carried.
    pub const NONE: [i32; 17] = [
        PAGEABLE_MEMORY_ACCESS,
        CONCURRENT_MANAGED_ACCESS,
        PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES,
        DIRECT_MANAGED_MEM_ACCESS_FROM_HOST,
        // Physical memory that other devices reach; semaphores of graphics with a timeline.
        110,
        114,
        // Memory as a file descriptor for other devices' drivers (DMA-BUF), and for processes of other machines.
        124,
        128,
        // Memory of several devices at one address (multicast).
        132,
        // Work beside that of Direct3D 12 and of Vulkan.
        135,
        138,
        // Physical memory and pools on the host, and on its NUMA nodes; their handles and descriptors.
        141,
        142,
        143,
        144,
        145,
        146,
    ];
    /// PCI bus.
    pub const PCI_BUS_ID: i32 = 33;
    /// PCI device.
    pub const PCI_DEVICE_ID: i32 = 34;
    /// PCI domain.
    pub const PCI_DOMAIN_ID: i32 = 50;
    /// Compute capability, major.
    pub const COMPUTE_CAPABILITY_MAJOR: i32 = 75;
    /// Compute capability, minor.
    pub const COMPUTE_CAPABILITY_MINOR: i32 = 76;
}

/// One device as the host described it.
#[derive(Debug, PartialEq, Eq)]
pub struct Device {
    name: Vec<u8>,
    /// The device's uuid.
    pub uuid: [u8; 16],
    luid: [u8; 8],
    luid_mask: u32,
    luid_status: CUresult,
    memory: u64,
    attributes: Vec<(CUresult, i32)>,
    /// What launches are checked against.
    pub limits: Limits,
}

/// Limits of launches on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Blocks of a grid along each axis.
    pub grid: [u32; 3],
    /// Threads of a block along each axis.
    pub block: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Registers of a block.
    pub registers: u32,
}

impl Device {
    pub(crate) fn read(snapshot: &[u8]) -> Result<Device, rt::Malformed> {
        let mut reader = Reader::new(snapshot);
        let name = reader.raw(256)?;
        let mut device = Device {
            name: name.iter().copied().take_while(|byte| *byte != 0).collect(),
            uuid: [0; 16],
            luid: [0; 8],
            luid_mask: 0,
            luid_status: 0,
            memory: 0,
            attributes: Vec::new(),
            limits: Limits::default(),
        };
        device.uuid.copy_from_slice(reader.raw(16)?);
        device.luid.copy_from_slice(reader.raw(8)?);
        device.luid_mask = reader.u32()?;
        device.luid_status = reader.u32()? as i32;
        device.memory = reader.u64()?;
        let count = (reader.u32()? as usize).min(ATTRIBUTES);
        reader.u32()?;
        for number in 1..=count as i32 {
            let (status, value) = (reader.u32()? as i32, reader.u32()? as i32);
            let value = match number {
                attribute::MEMPOOL_SUPPORTED_HANDLE_TYPES => value & attribute::HANDLE_TYPES,
                _ if attribute::NONE.contains(&number) => 0,
                _ => value,
            };
            device.attributes.push((status, value));
        }
        let of = |number| device.attribute(number).unwrap_or(0).max(0) as u32;
        device.limits = Limits {
            grid: [0, 1, 2].map(|axis| of(attribute::MAX_GRID_DIM_X + axis)),
            block: [0, 1, 2].map(|axis| of(attribute::MAX_BLOCK_DIM_X + axis)),
            threads: of(attribute::MAX_THREADS_PER_BLOCK),
            registers: of(attribute::MAX_REGISTERS_PER_BLOCK),
        };
        Ok(device)
    }

    /// The value of an attribute.
    ///
    /// # Errors
    /// The host's own answer, `CUDA_ERROR_INVALID_VALUE` for a number that is no attribute.
    #[inline]
    pub fn attribute(&self, number: i32) -> Result<i32, CUresult> {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match index.and_then(|index| self.attributes.get(index)) {
            Some((0, value)) => Ok(*value),
            Some((status, _)) => Err(*status),
            None => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    /// PCI domain, bus and device.
    #[must_use]
    pub fn pci(&self) -> [i32; 3] {
        [attribute::PCI_DOMAIN_ID, attribute::PCI_BUS_ID, attribute::PCI_DEVICE_ID]
            .map(|number| self.attribute(number).unwrap_or(0))
    }
}

static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();

/// All devices; none before cuInit.
#[must_use]
pub fn all() -> &'static [Device] {
    DEVICES.get().map_or(&[], Vec::as_slice)
}

/// Whether a context, a stream or memory may be another device's than the current one.
#[inline]
#[must_use]
pub fn are_several() -> bool {
    all().len() > 1
}

/// The host's numbers of the devices that the program sees, by its own numbers.
static VISIBLE: OnceLock<Vec<i32>> = OnceLock::new();

/// The host's number of a device; of no device, and of what is none, a number that the host has not either.
#[must_use]
pub fn on_host(device: i32) -> i32 {
    let (Some(visible), Ok(place)) = (VISIBLE.get(), usize::try_from(device)) else { return device };
    visible.get(place).copied().unwrap_or(i32::MAX)
}

/// The program's number of a device of the host.
#[must_use]
pub fn here(device: i32) -> i32 {
    let found = VISIBLE.get().and_then(|visible| visible.iter().position(|on_host| *on_host == device));
    found.map_or(device, |place| place as i32)
}

/// Which of the devices with these UUIDs a list like `CUDA_VISIBLE_DEVICES` names, by number or by the beginning of a UUID: those
/// before the first name that is none (CUDA Programming Guide, CUDA Environment Variables). Named twice, there are none.
fn visible(list: &str, uuids: &[[u8; 16]]) -> Vec<i32> {
    let named = |name: &str| -> Option<i32> {
        if let Some(digits) = name.strip_prefix("GPU-") {
            let digits: String =
                digits.chars().filter(|letter| *letter != '-').collect::<String>().to_ascii_lowercase();
            let text = |uuid: &[u8; 16]| uuid.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let mut fit = uuids.iter().enumerate().filter(|(_, uuid)| text(uuid).starts_with(&digits));
            return fit.next().filter(|_| fit.next().is_none()).map(|(number, _)| number as i32);
        }
        name.parse().ok().filter(|number| usize::try_from(*number).is_ok_and(|number| number < uuids.len()))
    };
    let all: Vec<i32> = list.split(',').map_while(|name| named(name.trim())).collect();
    let is_twice = all.iter().enumerate().any(|(at, number)| all[..at].contains(number));
    if is_twice { Vec::new() } else { all }
}

/// A device by its number.
///
/// # Errors
/// `CUDA_ERROR_INVALID_DEVICE`.
#[inline]
pub fn get(device: i32) -> Result<&'static Device, CUresult> {
    usize::try_from(device).ok().and_then(|index| all().get(index)).ok_or(CUDA_ERROR_INVALID_DEVICE)
}

/// Asks the host for its devices, of which the program sees what `CUDA_VISIBLE_DEVICES` names, and makes the handles of their primary
/// contexts. Returns their number.
///
/// # Errors
/// The host's answer; `CUDA_ERROR_UNKNOWN` where it makes no sense.
pub fn take_snapshot(caller: &Caller) -> Result<usize, CUresult> {
    if let Some(devices) = DEVICES.get() {
        return Ok(devices.len());
    }
    let mut count = 0;
    caller::answer(send::cuDeviceGetCount(caller, &mut count))?;
    let mut devices = Vec::new();
    for number in 0..count.max(0) {
        let mut bytes = [0; SNAPSHOT_BYTES];
        let reply = Buffer::Reply { bytes: SNAPSHOT_BYTES as u64 };
        caller::answer(send::gpuferryDeviceFacts(caller, number, reply, &mut bytes))?;
        devices.push(Device::read(&bytes).map_err(|_| CUDA_ERROR_UNKNOWN)?);
    }
    if let Some(list) = std::env::var_os("CUDA_VISIBLE_DEVICES") {
        let uuids: Vec<_> = devices.iter().map(|device| device.uuid).collect();
        let chosen = visible(&list.to_string_lossy(), &uuids);
        let mut all: Vec<_> = devices.into_iter().map(Some).collect();
        devices = chosen.iter().filter_map(|number| all.get_mut(*number as usize)?.take()).collect();
        VISIBLE.get_or_init(|| chosen);
    }
    crate::primary::make(devices.len())?;
    Ok(DEVICES.get_or_init(|| devices).len())
}

fn bus_id(text: &[u8]) -> Option<[i32; 3]> {
    let text = core::str::from_utf8(text).ok()?;
    let number = |digits: &str| i32::from_str_radix(digits, 16).ok();
    let text = text.split_once('.').map_or(text, |(head, _)| head);
    let (head, device) = text.rsplit_once(':')?;
    let (domain, bus) = head.rsplit_once(':').unwrap_or(("0", head));
    Some([number(domain)?, number(bus)?, number(device)?])
}

/// `CUdevprop`, as cuDeviceGetProperties fills it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Properties {
    max_threads_per_block: i32,
    max_threads_dim: [i32; 3],
    max_grid_size: [i32; 3],
    shared_memory_per_block: i32,
    constant_memory: i32,
    simd_width: i32,
    max_pitch: i32,
    registers_per_block: i32,
    clock_rate: i32,
    texture_alignment: i32,
}

/// Notifications that programs have asked for, by number.
static NOTIFICATIONS: Mutex<Vec<(i32, u64)>> = Mutex::new(Vec::new());

crate::export! {
    /// CUDA Driver API, cuDeviceRegisterAsyncNotification: of a budget of memory that shrinks below what is in use. The budget of a guest
    /// does not shrink, so none ever comes.
    extern "C" fn cuDeviceRegisterAsyncNotification(
        device: i32, callbackFunc: *const c_void, _userData: *mut c_void, callback: Out<u64>,
    ) {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        caller::session()?;
        callback.check()?;
        get(device)?;
        if callbackFunc.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        NOTIFICATIONS.lock().unwrap_or_else(PoisonError::into_inner).push((device, number));
        callback.set(number)
    }

    /// CUDA Driver API, cuDeviceUnregisterAsyncNotification.
    extern "C" fn cuDeviceUnregisterAsyncNotification(device: i32, callback: u64) {
        caller::session()?;
        get(device)?;
        let mut all = NOTIFICATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|known| *known == (device, callback)).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        all.remove(place);
        Ok(())
    }

    /// CUDA Driver API, cuDeviceGetCount.
    extern "C" fn cuDeviceGetCount(count: Out<i32>) {
        caller::session()?;
        count.set(all().len() as i32)
    }

    /// CUDA Driver API, cuDeviceGet.
    extern "C" fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        caller::session()?;
        device.check()?;
        get(ordinal)?;
        device.set(ordinal)
    }

    /// CUDA Driver API, cuDeviceGetName.
    extern "C" fn cuDeviceGetName(name: Out<c_char>, len: i32, dev: i32) {
        caller::session()?;
        fill_text(name, len, &get(dev)?.name)
    }

    /// CUDA Driver API, cuDeviceGetUuid.
    extern "C" fn cuDeviceGetUuid | extern "C" fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, dev: i32) {
        caller::session()?;
        uuid.set(get(dev)?.uuid)
    }

    /// CUDA Driver API, cuDeviceGetLuid.
    extern "C" fn cuDeviceGetLuid(luid: Out<[u8; 8]>, deviceNodeMask: Out<u32>, dev: i32) {
        caller::session()?;
        let device = get(dev)?;
        luid.check()?;
        deviceNodeMask.check()?;
        caller::answer(device.luid_status)?;
        luid.set(device.luid)?;
        deviceNodeMask.set(device.luid_mask)
    }

    /// CUDA Driver API, cuDeviceTotalMem.
    extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, dev: i32) {
        caller::session()?;
        bytes.check()?;
        bytes.set(get(dev)?.memory as usize)
    }

    /// CUDA Driver API, cuDeviceGetAttribute.
    extern "C" fn cuDeviceGetAttribute(pi: Out<i32>, attrib: i32, dev: i32) {
        caller::session()?;
        pi.check()?;
        pi.set(get(dev)?.attribute(attrib)?)
    }

    /// CUDA Driver API, cuDeviceComputeCapability.
    extern "C" fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, dev: i32) {
        caller::session()?;
        let device = get(dev)?;
        minor.check()?;
        major.set(device.attribute(attribute::COMPUTE_CAPABILITY_MAJOR)?)?;
        minor.set(device.attribute(attribute::COMPUTE_CAPABILITY_MINOR)?)
    }

    /// CUDA Driver API, cuDeviceGetProperties.
    extern "C" fn cuDeviceGetProperties(prop: Out<Properties>, dev: i32) {
        caller::session()?;
        let device = get(dev)?;
        let of = |number| device.attribute(number).unwrap_or(0);
        prop.set(Properties {
            max_threads_per_block: of(1),
            max_threads_dim: [of(2), of(3), of(4)],
            max_grid_size: [of(5), of(6), of(7)],
            shared_memory_per_block: of(8),
            constant_memory: of(9),
            simd_width: of(10),
            max_pitch: of(11),
            registers_per_block: of(12),
            clock_rate: of(13),
            texture_alignment: of(14),
        })
    }

    /// CUDA Driver API, cuDeviceGetPCIBusId: refused where the whole text with its function number does not fit.
    extern "C" fn cuDeviceGetPCIBusId(pciBusId: Out<c_char>, len: i32, dev: i32) {
        caller::session()?;
        let [domain, bus, device] = get(dev)?.pci();
        let text = format!("{domain:04X}:{bus:02X}:{device:02X}.0");
        if len < text.len() as i32 + 1 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        fill_text(pciBusId, len, text.as_bytes())
    }

    /// CUDA Driver API, cuDeviceGetByPCIBusId.
    extern "C" fn cuDeviceGetByPCIBusId(dev: Out<i32>, pciBusId: Text) {
        caller::session()?;
        dev.check()?;
        let place = bus_id(pciBusId.get()?.to_bytes()).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let found = all().iter().position(|device| device.pci() == place);
        dev.set(found.ok_or(CUDA_ERROR_INVALID_DEVICE)? as i32)
    }
}

/// The device of a context; the current one's where `context` is null.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT`.
pub fn of_context(context: Handle) -> Result<&'static Device, CUresult> {
    get(crate::context::resolve(context.0)?.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Vec<u8> {
        let mut bytes = vec![0; SNAPSHOT_BYTES];
        bytes[..3].copy_from_slice(b"GPU");
        bytes[256] = 9;
        bytes[288..296].copy_from_slice(&77u64.to_le_bytes());
        bytes[296] = ATTRIBUTES as u8;
        bytes[304 + 4..304 + 8].copy_from_slice(&1024u32.to_le_bytes());
        bytes[304 + 8] = 1;
        bytes
    }

    #[test]
    fn device_when_read_from_a_snapshot_then_answers_attributes() {
        let device = Device::read(&snapshot()).expect("well-formed");
        assert_eq!((device.name.as_slice(), device.uuid[0], device.memory), (&b"GPU"[..], 9, 77));
        assert_eq!(device.attribute(1), Ok(1024));
        assert_eq!(device.attribute(2), Err(1));
        assert_eq!(device.attribute(0), Err(CUDA_ERROR_INVALID_VALUE));
        assert_eq!(device.attribute(9999), Err(CUDA_ERROR_INVALID_VALUE));
        assert!(Device::read(&snapshot()[..900]).is_err());
    }

    #[test]
    fn visible_when_devices_are_named_then_are_those_in_that_order_up_to_a_wrong_name() {
        let (one, two) = (*b"\x0a\x11\x74\xc5\x15\x80\x8c\x82\x0e\x7c\x19\x13\x8f\xe1\x46\xdb", [0x0a; 16]);
        let of = |list: &str| visible(list, &[one, two, [3; 16]]);
        assert_eq!((of("1,0"), of("2"), of("0, 2")), (vec![1, 0], vec![2], vec![0, 2]));
        assert_eq!((of("0,7,1"), of("-1"), of(""), of("1,1"), of("x")), (vec![0], vec![], vec![], vec![], vec![]));
        assert_eq!((of("GPU-0a1174c5-1580"), of("GPU-0A0A"), of("GPU-0a")), (vec![0], vec![1], vec![]));
    }

    #[test]
    fn bus_id_when_written_in_any_of_its_forms_then_is_read() {
        assert_eq!(bus_id(b"0000:00:06.0"), Some([0, 0, 6]));
        assert_eq!(bus_id(b"00:1f.0"), Some([0, 0, 31]));
        assert_eq!(bus_id(b"00000001:00:06"), Some([1, 0, 6]));
        assert_eq!(bus_id(b"xx"), None);
    }
}
