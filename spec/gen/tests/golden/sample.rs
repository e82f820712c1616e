//! One call of each shape, for the tests of spec-gen.
#![status(Code, invalid = BAD_VALUE, gone = ERROR_GONE)]
#![numbers(1, 99)]
#![kinds(1, 9)]

const BAD_VALUE: Code = 1;
const BAD_HANDLE: Code = 2;
const ERROR_GONE: Code = 3;
/// A number that both sides name.
const FLAG_FAST: u32 = 4;

/// An address on the device.
type Address = u64;

/// Sizes of a thing.
struct Size {
    width: u32,
    pairs: [u16; 2],
    depth: usize,
}

trait Things {
    #[handle(1, error = BAD_HANDLE, in_context)]
    type Thing;
    /// 1 is the first queue of all.
    #[handle(2, error = BAD_HANDLE, plain(1))]
    type Queue;

    /// Version of the library.
    #[call(1, wait)] #[no_context]
    fn version(#[out] number: i32, #[out] #[optional] ratio: f32);
    /// Makes a thing.
    #[call(2, post)]
    fn thingCreate(#[new] thing: Thing, size: &Size);
    /// A part of a thing, by name.
    #[call(3, wait)] #[alias(thingFindOld)]
    fn thingFind(#[new(thing)] part: Thing, thing: Thing, name: &CStr);
    /// Ends a thing.
    #[call(4, post)]
    fn thingDestroy(#[free] thing: Thing);
    /// Makes a thing out of others, which the library returns, and a queue that not everyone wants.
    #[call(6, either)] #[by_hand(guest)]
    fn thingJoin(
        #[new] #[returned] joined: Thing,
        count: u32,
        #[len(count)] things: &[Thing],
        bytes: usize,
        #[new] #[optional] queue: Queue,
    );
    /// What size a thing has.
    #[call(5, wait)]
    fn thingSize(thing: Thing, #[out] size: Size);
}

trait Data {
    /// Fills memory.
    #[call(10, post)] #[ptds(fillAsync)]
    fn fill(#[device(count * 4)] address: Address, value: u32, count: usize);
    /// Fills memory in a queue.
    #[call(11, post)] #[ptsz]
    fn fillAsync(#[device(count * 4)] #[aligned(4)] address: Address, value: u32, count: usize, queue: Queue);
    /// Writes bytes to a thing.
    #[call(12, wait)] #[block] #[since(12000)]
    fn thingWrite(thing: Thing, #[len(bytes)] data: &[u8], bytes: usize);
    /// Reads bytes from a thing.
    #[call(13, wait)]
    fn thingRead(#[out] #[len(bytes)] data: &mut [u8], thing: Thing, bytes: usize);
    /// Adds up numbers; `both` and `weights` have one length.
    #[call(14, wait)]
    fn sum(#[len(count)] both: &[u32], #[len(count)] weights: &[u32], count: u32, #[out] total: u64);
    /// Anything else.
    #[call(20, wait)] #[always] #[by_hand(both)]
    fn gpuferryAsk(any: Handle, #[run] words: &[u8], #[run(16)] block: &[u8], #[out] told: Vec<u8>);
    /// Answered in the guest.
    #[local]
    fn thingCount();
}

trait Library {
    #[driver] #[alias(helperOld)]
    fn helper(name: *mut *const c_char, size: *const Size, thing: Thing, queue: *mut Queue);
    /// Returns no status.
    #[driver]
    fn helperThing(size: usize) -> Thing;
    /// Returns nothing.
    #[driver]
    fn helperEnd(thing: Thing) -> c_void;
}
