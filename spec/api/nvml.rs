//! NVML, as far as it is carried. Read by `spec-gen` as data, never compiled; how to write it: `spec/README.md`.
//!
//! Argument names and types are the API's; `u32` stands for `unsigned int` and the enumerations. There are no contexts, and the one kind
//! of handle is never made by a message: device number N of the guest is the handle of index N and generation 1, on both sides.
//!
//! What is not here is answered in the guest, or not carried: whatever changes the card, names its owner (serial numbers), or tells
//! of other guests (`guest-lib/nvml/README.md`).
#![status(nvmlReturn_t, invalid = NVML_ERROR_INVALID_ARGUMENT, gone = NVML_ERROR_GPU_IS_LOST)]
#![numbers(0x6000, 0x6fff)]
#![kinds(128, 128)]
#![no_context]

const NVML_ERROR_INVALID_ARGUMENT: nvmlReturn_t = 2;
const NVML_ERROR_NOT_SUPPORTED: nvmlReturn_t = 3;
const NVML_ERROR_INSUFFICIENT_SIZE: nvmlReturn_t = 7;
const NVML_ERROR_DRIVER_NOT_LOADED: nvmlReturn_t = 9;
const NVML_ERROR_TIMEOUT: nvmlReturn_t = 10;
const NVML_ERROR_GPU_IS_LOST: nvmlReturn_t = 15;
const NVML_ERROR_ARGUMENT_VERSION_MISMATCH: nvmlReturn_t = 25;

/// Most event sets of a session; their numbers are below it.
const MAX_EVENT_SETS: u32 = 64;
/// Longest that one `gpuferryEventSetWait` sleeps, in milliseconds: the guest asks again, so that no call seems to hang.
const EVENT_WAIT_MS: u32 = 250;

/// What `gpuferryShape` fills, a structure: that of `nvmlDeviceGetPciInfo_v3`.
const SHAPE_PCI_INFO: u32 = 0;
/// `nvmlDeviceGetFieldValues`: an array.
const SHAPE_FIELD_VALUES: u32 = 1;
/// `nvmlDeviceGetMemoryInfo_v2`.
const SHAPE_MEMORY_V2: u32 = 2;
/// `nvmlDeviceGetPciInfoExt`.
const SHAPE_PCI_INFO_EXT: u32 = 3;
/// `nvmlDeviceGetGpuFabricInfoV`.
const SHAPE_FABRIC_INFO: u32 = 4;
/// `nvmlDeviceGetC2cModeInfoV`.
const SHAPE_C2C_MODE: u32 = 5;
/// `nvmlDeviceGetTemperatureV`.
const SHAPE_TEMPERATURE: u32 = 6;
/// `nvmlDeviceGetMarginTemperature`.
const SHAPE_MARGIN_TEMPERATURE: u32 = 7;
/// `nvmlDeviceGetCoolerInfo`.
const SHAPE_COOLER: u32 = 8;
/// `nvmlDeviceGetClockOffsets`.
const SHAPE_CLOCK_OFFSETS: u32 = 9;
/// `nvmlDeviceGetPerformanceModes`.
const SHAPE_PERFORMANCE_MODES: u32 = 10;
/// `nvmlDeviceGetCurrentClockFreqs`.
const SHAPE_CLOCK_FREQUENCIES: u32 = 11;
/// `nvmlDeviceGetAddressingMode`.
const SHAPE_ADDRESSING_MODE: u32 = 12;
/// `nvmlDeviceGetRepairStatus`.
const SHAPE_REPAIR_STATUS: u32 = 13;
/// `nvmlDeviceGetSramEccErrorStatus`.
const SHAPE_SRAM_ECC: u32 = 14;
/// `nvmlDeviceGetCapabilities`.
const SHAPE_CAPABILITIES: u32 = 15;
/// `nvmlDeviceGetRowRemapperHistogram`.
const SHAPE_ROW_REMAPPER: u32 = 16;
/// `nvmlDeviceGetDynamicPstatesInfo`.
const SHAPE_PSTATES: u32 = 17;
/// `nvmlDeviceGetSupportedPerformanceStates`.
const SHAPE_SUPPORTED_STATES: u32 = 18;
/// `nvmlDeviceGetGspFirmwareVersion`: a text.
const SHAPE_GSP_VERSION: u32 = 19;

/// Memory of the device, in bytes (`nvmlMemory_t`).
struct nvmlMemory_t {
    total: u64,
    free: u64,
    used: u64,
}

/// Memory that the bus reaches, in bytes (`nvmlBAR1Memory_t`).
struct nvmlBAR1Memory_t {
    bar1Total: u64,
    bar1Free: u64,
    bar1Used: u64,
}

/// How busy the device was, in percent (`nvmlUtilization_t`).
struct nvmlUtilization_t {
    gpu: u32,
    memory: u32,
}

/// Frames that are captured (`nvmlFBCStats_t`).
struct nvmlFBCStats_t {
    sessionsCount: u32,
    averageFPS: u32,
    averageLatency: u32,
}

/// What is asked once.
trait Beginning {
    /// A device that this guest may use.
    #[handle(128, error = NVML_ERROR_INVALID_ARGUMENT)]
    type nvmlDevice_t;

    /// How many devices this guest may use, and the host driver's CUDA version.
    #[call(0x6001, wait)] #[by_hand(host)]
    fn gpuferryBegin(#[out] count: u32, #[out] cuda: i32);

    /// Fills `found` as the function that `which` names does for a structure whose bytes are `given`.
    #[call(0x6002, wait)] #[by_hand(host)]
    fn gpuferryShape(device: nvmlDevice_t, which: u32, #[run] given: &[u8], #[out] found: Vec<u8>);

    /// A list of numbers of 4 bytes: supported memory clocks, or graphics clocks at the memory clock `at`, at most `room` of them.
    #[call(0x6003, wait)] #[by_hand(host)]
    fn gpuferryClocks(device: nvmlDevice_t, at: u32, room: u32, #[out] found: Vec<u8>);

    /// The guest's processes that hold memory of the device, 16 bytes each: number in the guest (u32), 0 (u32), bytes (u64).
    #[call(0x6004, wait)] #[by_hand(host)]
    fn gpuferryProcesses(device: nvmlDevice_t, #[out] found: Vec<u8>);

    /// How busy the guest's processes kept the device since the time `last` in microseconds (a sample's), at most `room` of them, 32 bytes
    /// each, as the library's: number in the guest (u32), 0 (u32), time (u64), percent of multiprocessors, memory, encoder and decoder.
    #[call(0x6005, wait)] #[by_hand(host)]
    fn gpuferryProcessUtilization(device: nvmlDevice_t, last: u64, room: u32, #[out] found: Vec<u8>);

    #[driver]
    fn nvmlInit_v2();
    #[driver]
    fn nvmlDeviceGetProcessUtilization(device: nvmlDevice_t, samples: *mut c_void, count: *mut u32, last: u64);
    #[driver]
    fn nvmlDeviceGetComputeRunningProcesses_v3(device: nvmlDevice_t, count: *mut u32, infos: *mut c_void);
    #[driver]
    fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut *mut c_void);
    #[driver]
    fn nvmlSystemGetCudaDriverVersion(version: *mut i32);
    #[driver]
    fn nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetFieldValues(device: nvmlDevice_t, count: i32, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetMemoryInfo_v2(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetPciInfoExt(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetGpuFabricInfoV(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetC2cModeInfoV(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetTemperatureV(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetMarginTemperature(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetCoolerInfo(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetClockOffsets(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetPerformanceModes(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetCurrentClockFreqs(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetAddressingMode(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetRepairStatus(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetSramEccErrorStatus(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetCapabilities(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetRowRemapperHistogram(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetDynamicPstatesInfo(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetSupportedPerformanceStates(device: nvmlDevice_t, filled: *mut c_void, bytes: u32);
    #[driver]
    fn nvmlDeviceGetGspFirmwareVersion(device: nvmlDevice_t, filled: *mut c_void);
    #[driver]
    fn nvmlDeviceGetSupportedMemoryClocks(device: nvmlDevice_t, count: *mut u32, clocks: *mut u32);
    #[driver]
    fn nvmlDeviceGetSupportedGraphicsClocks(device: nvmlDevice_t, memory: u32, count: *mut u32, clocks: *mut u32);

    /// The version of the host's driver.
    #[call(0x6010, wait)]
    fn nvmlSystemGetDriverVersion(#[out] #[len(length)] version: &mut [u8], length: u32);

    /// The version of the host's NVML.
    #[call(0x6011, wait)]
    fn nvmlSystemGetNVMLVersion(#[out] #[len(length)] version: &mut [u8], length: u32);
}

/// What the device is.
trait Device {
    /// The product's name.
    #[call(0x6020, wait)]
    fn nvmlDeviceGetName(device: nvmlDevice_t, #[out] #[len(length)] label: &mut [u8], length: u32);

    /// The part number of the board.
    #[call(0x6021, wait)]
    fn nvmlDeviceGetBoardPartNumber(device: nvmlDevice_t, #[out] #[len(length)] label: &mut [u8], length: u32);

    /// The version of the video BIOS.
    #[call(0x6022, wait)]
    fn nvmlDeviceGetVbiosVersion(device: nvmlDevice_t, #[out] #[len(length)] label: &mut [u8], length: u32);

    /// The UUID, as CUDA tells it.
    #[call(0x6023, wait)]
    fn nvmlDeviceGetUUID(device: nvmlDevice_t, #[out] #[len(length)] label: &mut [u8], length: u32);

    /// The version of the image of the information ROM.
    #[call(0x6024, wait)]
    fn nvmlDeviceGetInforomImageVersion(device: nvmlDevice_t, #[out] #[len(length)] label: &mut [u8], length: u32);

    /// The version of an object of the information ROM.
    #[call(0x6025, wait)]
    fn nvmlDeviceGetInforomVersion(device: nvmlDevice_t, object: u32, #[out] #[len(length)] version: &mut [u8], length: u32);

    /// The compute capability.
    #[call(0x6026, wait)]
    fn nvmlDeviceGetCudaComputeCapability(device: nvmlDevice_t, #[out] major: i32, #[out] minor: i32);

    /// The brand.
    #[call(0x6027, wait)]
    fn nvmlDeviceGetBrand(device: nvmlDevice_t, #[out] value: u32);

    /// The architecture.
    #[call(0x6028, wait)]
    fn nvmlDeviceGetArchitecture(device: nvmlDevice_t, #[out] value: u32);

    /// Cores.
    #[call(0x6029, wait)]
    fn nvmlDeviceGetNumGpuCores(device: nvmlDevice_t, #[out] value: u32);

    /// Width of the memory bus in bits.
    #[call(0x602a, wait)]
    fn nvmlDeviceGetMemoryBusWidth(device: nvmlDevice_t, #[out] value: u32);

    /// Kind of bus.
    #[call(0x602b, wait)]
    fn nvmlDeviceGetBusType(device: nvmlDevice_t, #[out] value: u32);

    /// Interrupt number.
    #[call(0x602c, wait)]
    fn nvmlDeviceGetIrqNum(device: nvmlDevice_t, #[out] value: u32);

    /// Source of power.
    #[call(0x602d, wait)]
    fn nvmlDeviceGetPowerSource(device: nvmlDevice_t, #[out] value: u32);

    /// Board number.
    #[call(0x602e, wait)]
    fn nvmlDeviceGetBoardId(device: nvmlDevice_t, #[out] value: u32);

    /// Whether the board has several devices.
    #[call(0x602f, wait)]
    fn nvmlDeviceGetMultiGpuBoard(device: nvmlDevice_t, #[out] value: u32);

    /// Checksum of the information ROM.
    #[call(0x6030, wait)]
    fn nvmlDeviceGetInforomConfigurationChecksum(device: nvmlDevice_t, #[out] value: u32);

    /// Most MIG devices.
    #[call(0x6031, wait)]
    fn nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t, #[out] value: u32);

    /// NUMA node of its memory.
    #[call(0x6032, wait)]
    fn nvmlDeviceGetNumaNodeId(device: nvmlDevice_t, #[out] value: u32);

    /// Minor number of the device file.
    #[call(0x6033, wait)]
    fn nvmlDeviceGetMinorNumber(device: nvmlDevice_t, #[out] value: u32);

    /// Place in its module.
    #[call(0x6034, wait)]
    fn nvmlDeviceGetModuleId(device: nvmlDevice_t, #[out] value: u32);

    /// How virtual it is.
    #[call(0x6035, wait)]
    fn nvmlDeviceGetVirtualizationMode(device: nvmlDevice_t, #[out] value: u32);

    /// Largest PCIe generation with this board.
    #[call(0x6036, wait)]
    fn nvmlDeviceGetMaxPcieLinkGeneration(device: nvmlDevice_t, #[out] value: u32);

    /// Largest PCIe generation of the device.
    #[call(0x6037, wait)]
    fn nvmlDeviceGetGpuMaxPcieLinkGeneration(device: nvmlDevice_t, #[out] value: u32);

    /// Largest PCIe width.
    #[call(0x6038, wait)]
    fn nvmlDeviceGetMaxPcieLinkWidth(device: nvmlDevice_t, #[out] value: u32);

    /// Present PCIe generation.
    #[call(0x6039, wait)]
    fn nvmlDeviceGetCurrPcieLinkGeneration(device: nvmlDevice_t, #[out] value: u32);

    /// Present PCIe width.
    #[call(0x603a, wait)]
    fn nvmlDeviceGetCurrPcieLinkWidth(device: nvmlDevice_t, #[out] value: u32);

    /// Largest PCIe speed in MB/s.
    #[call(0x603b, wait)]
    fn nvmlDeviceGetPcieLinkMaxSpeed(device: nvmlDevice_t, #[out] value: u32);

    /// Present PCIe speed in MB/s.
    #[call(0x603c, wait)]
    fn nvmlDeviceGetPcieSpeed(device: nvmlDevice_t, #[out] value: u32);

    /// PCIe replays.
    #[call(0x603d, wait)]
    fn nvmlDeviceGetPcieReplayCounter(device: nvmlDevice_t, #[out] value: u32);
}

/// Modes.
trait Modes {
    /// Who may compute.
    #[call(0x603e, wait)]
    fn nvmlDeviceGetComputeMode(device: nvmlDevice_t, #[out] value: u32);

    /// Whether the driver stays loaded.
    #[call(0x603f, wait)]
    fn nvmlDeviceGetPersistenceMode(device: nvmlDevice_t, #[out] value: u32);

    /// Whether a display is attached.
    #[call(0x6040, wait)]
    fn nvmlDeviceGetDisplayMode(device: nvmlDevice_t, #[out] value: u32);

    /// Whether a display is set up.
    #[call(0x6041, wait)]
    fn nvmlDeviceGetDisplayActive(device: nvmlDevice_t, #[out] value: u32);

    /// Whether power is managed.
    #[call(0x6042, wait)]
    fn nvmlDeviceGetPowerManagementMode(device: nvmlDevice_t, #[out] value: u32);

    /// ECC mode out of the factory.
    #[call(0x6043, wait)]
    fn nvmlDeviceGetDefaultEccMode(device: nvmlDevice_t, #[out] value: u32);

    /// Whether pages wait for retirement.
    #[call(0x6044, wait)]
    fn nvmlDeviceGetRetiredPagesPendingStatus(device: nvmlDevice_t, #[out] value: u32);

    /// Whether clocks adapt.
    #[call(0x6045, wait)]
    fn nvmlDeviceGetAdaptiveClockInfoStatus(device: nvmlDevice_t, #[out] value: u32);

    /// ECC mode now and after a reset.
    #[call(0x6046, wait)]
    fn nvmlDeviceGetEccMode(device: nvmlDevice_t, #[out] current: u32, #[out] pending: u32);

    /// MIG mode now and after a reset.
    #[call(0x6047, wait)]
    fn nvmlDeviceGetMigMode(device: nvmlDevice_t, #[out] current: u32, #[out] pending: u32);

    /// Operation mode now and after a reset.
    #[call(0x6048, wait)]
    fn nvmlDeviceGetGpuOperationMode(device: nvmlDevice_t, #[out] current: u32, #[out] pending: u32);

    /// Whether clocks boost by themselves, and by default.
    #[call(0x6049, wait)]
    fn nvmlDeviceGetAutoBoostedClocksEnabled(device: nvmlDevice_t, #[out] current: u32, #[out] pending: u32);

    /// Whether GSP firmware is used, and by default.
    #[call(0x604a, wait)]
    fn nvmlDeviceGetGspFirmwareMode(device: nvmlDevice_t, #[out] current: u32, #[out] pending: u32);
}

/// Memory. What a quota of the guest says goes before what the card says.
trait Memory {
    /// Memory of the device.
    #[call(0x604b, wait)] #[by_hand(host)]
    fn nvmlDeviceGetMemoryInfo(device: nvmlDevice_t, #[out] memory: nvmlMemory_t);

    /// Memory that the bus reaches.
    #[call(0x604c, wait)]
    fn nvmlDeviceGetBAR1MemoryInfo(device: nvmlDevice_t, #[out] bar1Memory: nvmlBAR1Memory_t);
}

/// What the card does: all of it, its other users' work included.
trait State {
    /// How busy it was.
    #[call(0x604d, wait)]
    fn nvmlDeviceGetUtilizationRates(device: nvmlDevice_t, #[out] utilization: nvmlUtilization_t);

    /// Performance state.
    #[call(0x604e, wait)]
    fn nvmlDeviceGetPerformanceState(device: nvmlDevice_t, #[out] value: u32);

    /// Performance state, by its older name.
    #[call(0x604f, wait)]
    fn nvmlDeviceGetPowerState(device: nvmlDevice_t, #[out] value: u32);

    /// Power used, in mW.
    #[call(0x6050, wait)]
    fn nvmlDeviceGetPowerUsage(device: nvmlDevice_t, #[out] value: u32);

    /// Power limit, in mW.
    #[call(0x6051, wait)]
    fn nvmlDeviceGetPowerManagementLimit(device: nvmlDevice_t, #[out] value: u32);

    /// Power limit out of the factory, in mW.
    #[call(0x6052, wait)]
    fn nvmlDeviceGetPowerManagementDefaultLimit(device: nvmlDevice_t, #[out] value: u32);

    /// Power limit in force, in mW.
    #[call(0x6053, wait)]
    fn nvmlDeviceGetEnforcedPowerLimit(device: nvmlDevice_t, #[out] value: u32);

    /// Fan speed in percent.
    #[call(0x6054, wait)]
    fn nvmlDeviceGetFanSpeed(device: nvmlDevice_t, #[out] value: u32);

    /// Fans.
    #[call(0x6055, wait)]
    fn nvmlDeviceGetNumFans(device: nvmlDevice_t, #[out] value: u32);

    /// Least and most power limit, in mW.
    #[call(0x6056, wait)]
    fn nvmlDeviceGetPowerManagementLimitConstraints(device: nvmlDevice_t, #[out] first: u32, #[out] second: u32);

    /// How busy the encoder was, in percent, and over how many µs.
    #[call(0x6057, wait)]
    fn nvmlDeviceGetEncoderUtilization(device: nvmlDevice_t, #[out] first: u32, #[out] second: u32);

    /// How busy the decoder was.
    #[call(0x6058, wait)]
    fn nvmlDeviceGetDecoderUtilization(device: nvmlDevice_t, #[out] first: u32, #[out] second: u32);

    /// How busy the JPEG engine was.
    #[call(0x6059, wait)]
    fn nvmlDeviceGetJpgUtilization(device: nvmlDevice_t, #[out] first: u32, #[out] second: u32);

    /// How busy the optical flow engine was.
    #[call(0x605a, wait)]
    fn nvmlDeviceGetOfaUtilization(device: nvmlDevice_t, #[out] first: u32, #[out] second: u32);

    /// Least and most fan speed in percent.
    #[call(0x605b, wait)]
    fn nvmlDeviceGetMinMaxFanSpeed(device: nvmlDevice_t, #[out] first: u32, #[out] second: u32);

    /// Why clocks are low.
    #[call(0x605c, wait)] #[alias(nvmlDeviceGetCurrentClocksThrottleReasons)]
    fn nvmlDeviceGetCurrentClocksEventReasons(device: nvmlDevice_t, #[out] value: u64);

    /// Reasons for low clocks that it can tell.
    #[call(0x605d, wait)] #[alias(nvmlDeviceGetSupportedClocksThrottleReasons)]
    fn nvmlDeviceGetSupportedClocksEventReasons(device: nvmlDevice_t, #[out] value: u64);

    /// Energy used since the driver was loaded, in mJ.
    #[call(0x605e, wait)]
    fn nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t, #[out] value: u64);

    /// Temperature of a sensor, in °C.
    #[call(0x605f, wait)]
    fn nvmlDeviceGetTemperature(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// A threshold of temperature.
    #[call(0x6060, wait)]
    fn nvmlDeviceGetTemperatureThreshold(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// A clock in MHz.
    #[call(0x6061, wait)]
    fn nvmlDeviceGetClockInfo(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Highest clock in MHz.
    #[call(0x6062, wait)]
    fn nvmlDeviceGetMaxClockInfo(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Clock that applications run at.
    #[call(0x6063, wait)]
    fn nvmlDeviceGetApplicationsClock(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Clock that applications run at by default.
    #[call(0x6064, wait)]
    fn nvmlDeviceGetDefaultApplicationsClock(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Highest boost clock that may be set.
    #[call(0x6065, wait)]
    fn nvmlDeviceGetMaxCustomerBoostClock(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Bytes over PCIe, in KB/s.
    #[call(0x6066, wait)]
    fn nvmlDeviceGetPcieThroughput(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Speed of a fan in percent.
    #[call(0x6067, wait)]
    fn nvmlDeviceGetFanSpeed_v2(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Speed that a fan is meant to have.
    #[call(0x6068, wait)]
    fn nvmlDeviceGetTargetFanSpeed(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Capacity of the encoder in percent.
    #[call(0x6069, wait)]
    fn nvmlDeviceGetEncoderCapacity(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Whether an NVLink is up.
    #[call(0x606a, wait)]
    fn nvmlDeviceGetNvLinkState(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// Version of an NVLink.
    #[call(0x606b, wait)]
    fn nvmlDeviceGetNvLinkVersion(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// What is at the other end of an NVLink.
    #[call(0x606c, wait)]
    fn nvmlDeviceGetNvLinkRemoteDeviceType(device: nvmlDevice_t, what: u32, #[out] value: u32);

    /// A clock of a domain in MHz.
    #[call(0x606d, wait)]
    fn nvmlDeviceGetClock(device: nvmlDevice_t, domain: u32, which: u32, #[out] value: u32);

    /// A capability of an NVLink.
    #[call(0x606e, wait)]
    fn nvmlDeviceGetNvLinkCapability(device: nvmlDevice_t, link: u32, capability: u32, #[out] value: u32);

    /// An error counter of an NVLink.
    #[call(0x606f, wait)]
    fn nvmlDeviceGetNvLinkErrorCounter(device: nvmlDevice_t, link: u32, counter: u32, #[out] value: u64);

    /// ECC errors.
    #[call(0x6070, wait)]
    fn nvmlDeviceGetTotalEccErrors(device: nvmlDevice_t, errorType: u32, counterType: u32, #[out] value: u64);

    /// ECC errors at one place.
    #[call(0x6071, wait)]
    fn nvmlDeviceGetMemoryErrorCounter(device: nvmlDevice_t, errorType: u32, counterType: u32, location: u32, #[out] value: u64);

    /// Rows replaced for correctable and other errors, whether some wait, whether one failed.
    #[call(0x6072, wait)]
    fn nvmlDeviceGetRemappedRows(device: nvmlDevice_t, #[out] correctable: u32, #[out] uncorrectable: u32, #[out] isPending: u32, #[out] hasFailed: u32);
}

/// Sessions of the card's engines, by number only.
trait Engines {
    /// Sessions of the encoder, their mean frames a second and latency in microseconds.
    #[call(0x607b, wait)]
    fn nvmlDeviceGetEncoderStats(device: nvmlDevice_t, #[out] sessionCount: u32, #[out] averageFps: u32, #[out] averageLatency: u32);

    /// The same for the capture of frames.
    #[call(0x607c, wait)]
    fn nvmlDeviceGetFBCStats(device: nvmlDevice_t, #[out] fbcStats: nvmlFBCStats_t);

    /// Memory that is protected for confidential computing, in bytes.
    #[call(0x607d, wait)]
    fn nvmlDeviceGetConfComputeProtectedMemoryUsage(device: nvmlDevice_t, #[out] memory: nvmlMemory_t);
}

/// Two devices of the guest, and links.
trait Pairs {
    /// What lies between two devices.
    #[call(0x6073, wait)]
    fn nvmlDeviceGetTopologyCommonAncestor(first: nvmlDevice_t, second: nvmlDevice_t, #[out] path: u32);

    /// Whether two devices reach each other.
    #[call(0x6074, wait)]
    fn nvmlDeviceGetP2PStatus(first: nvmlDevice_t, second: nvmlDevice_t, index: u32, #[out] found: u32);

    /// The address on the bus of what is at the other end of an NVLink: the structure of `nvmlDeviceGetPciInfo_v3`.
    #[call(0x607e, wait)] #[by_hand(host)]
    fn gpuferryNvLinkRemote(device: nvmlDevice_t, link: u32, #[out] found: Vec<u8>);

    #[driver]
    fn nvmlDeviceGetNvLinkRemotePciInfo_v2(device: nvmlDevice_t, link: u32, filled: *mut c_void);

    /// Whether two devices are on one board.
    #[call(0x6075, wait)]
    fn nvmlDeviceOnSameBoard(first: nvmlDevice_t, second: nvmlDevice_t, #[out] onSameBoard: i32);
}

/// Events of a device: sets of them are the session's, by number.
trait Events {
    /// Kinds of events that the device tells.
    #[call(0x6076, wait)]
    fn nvmlDeviceGetSupportedEventTypes(device: nvmlDevice_t, #[out] eventTypes: u64);

    /// Makes a set.
    #[call(0x6077, wait)] #[by_hand(host)]
    fn gpuferryEventSetCreate(#[out] set: u32);

    /// Has events of those kinds come to the set.
    #[call(0x6078, wait)] #[by_hand(host)]
    fn gpuferryRegisterEvents(device: nvmlDevice_t, eventTypes: u64, set: u32);

    /// Sleeps until an event comes to the set, at most `timeout` milliseconds and [`EVENT_WAIT_MS`].
    #[call(0x6079, wait)] #[block] #[by_hand(host)]
    fn gpuferryEventSetWait(set: u32, timeout: u32, #[out] device: u32, #[out] kind: u64, #[out] data: u64, #[out] gpuInstance: u32, #[out] computeInstance: u32);

    /// Ends a set.
    #[call(0x607a, wait)] #[by_hand(host)]
    fn gpuferryEventSetFree(set: u32);

    #[driver]
    fn nvmlEventSetCreate(set: *mut *mut c_void);
    #[driver]
    fn nvmlDeviceRegisterEvents(device: nvmlDevice_t, eventTypes: u64, set: *mut c_void);
    #[driver]
    fn nvmlEventSetWait_v2(set: *mut c_void, data: *mut c_void, timeoutms: u32);
    #[driver]
    fn nvmlEventSetFree(set: *mut c_void);
}
