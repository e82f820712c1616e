//! Linking.

use super::modules::read_file;
use crate::export::cuda;
use crate::foreign::{In, Out, Text, copy_readable};
use crate::handle::Handle;
use crate::image;
use crate::jit_options::JitOptions;
use crate::linker::Linker;
use crate::status::{Answer, Status};

type Link = Handle<Linker>;
/// CU_JIT_INPUT_LIBRARY.
const LIBRARY: u32 = 4;

type OptionList = (u32, In<u32>, In<u64>);

fn create((count, options, values): OptionList, out: Out<Link>) -> Answer {
    out.check()?;
    crate::context::fault()?;
    out.set(Linker::create(JitOptions::read(count, options, values)?)?)
}

fn add(link: Link, kind: u32, data: u64, size: u64, name: Text, (count, options, values): OptionList) -> Answer {
    let link = link.get()?;
    let size =
        usize::try_from(size).ok().filter(|size| (1..=image::MOST).contains(size)).ok_or(Status::INVALID_VALUE)?;
    let name = name.read().unwrap_or_default();
    link.add(kind, &copy_readable(data, size)?, &name, JitOptions::read(count, options, values)?)
}

fn add_file(link: Link, kind: u32, path: Text, (count, options, values): OptionList) -> Answer {
    let link = link.get()?;
    let name = path.read()?;
    let options = JitOptions::read(count, options, values)?;
    if kind == LIBRARY {
        // Looked at by its name alone: what is in it is code for GPUs.
        return if std::path::Path::new(&name).exists() {
            link.add(kind, &[], &name, options)
        } else {
            Err(Status::FILE_NOT_FOUND)
        };
    }
    let text = read_file(path)?;
    link.add(kind, &text, &name, options)
}

cuda! {
    fn cuLinkCreate(count: u32, options: In<u32>, values: In<u64>, out: Out<Link>) {
        create((count, options, values), out)
    }

    fn cuLinkCreate_v2(count: u32, options: In<u32>, values: In<u64>, out: Out<Link>) {
        create((count, options, values), out)
    }

    fn cuLinkAddData(link: Link, kind: u32, data: u64, size: u64, name: Text, count: u32, options: In<u32>, values: In<u64>) {
        add(link, kind, data, size, name, (count, options, values))
    }

    fn cuLinkAddData_v2(link: Link, kind: u32, data: u64, size: u64, name: Text, count: u32, options: In<u32>, values: In<u64>) {
        add(link, kind, data, size, name, (count, options, values))
    }

    fn cuLinkAddFile(link: Link, kind: u32, path: Text, count: u32, options: In<u32>, values: In<u64>) {
        add_file(link, kind, path, (count, options, values))
    }

    fn cuLinkAddFile_v2(link: Link, kind: u32, path: Text, count: u32, options: In<u32>, values: In<u64>) {
        add_file(link, kind, path, (count, options, values))
    }

    fn cuLinkComplete(link: Link, image: Out<u64>, size: Out<u64>) {
        image.check()?;
        let (address, bytes) = link.get()?.complete()?;
        size.set_if_wanted(bytes);
        image.set(address)
    }

    fn cuLinkDestroy(link: Link) {
        link.take().map(drop)
    }
}
