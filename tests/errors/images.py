"""Code that is none, alone, in a library and to be linked."""
import ctypes

from driver import CASES, Driver, HERE, P, SIZE, U32, U64, case, function, launch, start


IMAGES = {
    "empty text": b"\0", "words": b"this is no code\0", "a comment": b"// nothing\n\0", "no version": b".target sm_70\n.address_size 64\n\0",
    "version 99.0": b".version 99.0\n.target sm_70\n.address_size 64\n\0", "version 1.0": b".version 1.0\n.target sm_10\n\0",
    "target sm_999": b".version 6.4\n.target sm_999\n.address_size 64\n\0", "32-bit addresses": b".version 6.4\n.target sm_70\n.address_size 32\n\0",
    "only a header": b".version 6.4\n.target sm_70\n.address_size 64\n\0",
    "an unknown instruction": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    frobnicate.u32 1;\n    ret;\n}\n\0",
    "an unknown register": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    mov.u32 %a, 1;\n    ret;\n}\n\0",
    "a wrong type": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    .reg .b64 %a;\n    add.u32 %a, %a, 1;\n    ret;\n}\n\0",
    "no closing brace": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    ret;\n\0",
    "no such label": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    bra nowhere;\n}\n\0",
    "two of a name": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k() { ret; }\n.visible .entry k() { ret; }\n\0",
    "an open extern function": b".version 6.4\n.target sm_70\n.address_size 64\n.extern .func f();\n.visible .entry k()\n{\n    call f;\n    ret;\n}\n\0",
    "an open extern variable": b".version 6.4\n.target sm_70\n.address_size 64\n.extern .global .u32 v;\n.visible .entry k()\n{\n    st.global.u32 [v], 1;\n    ret;\n}\n\0",
    "too much shared memory": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    .shared .b8 s[50000];\n    st.shared.u8 [s+49999], 1;\n    ret;\n}\n\0",
    "target sm_100": b".version 9.0\n.target sm_100\n.address_size 64\n.visible .entry k() { ret; }\n\0",
    "target sm_90": b".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k() { ret; }\n\0",
    "target sm_20": b".version 6.4\n.target sm_20\n.address_size 64\n.visible .entry k() { ret; }\n\0",
    "an empty ELF": b"\x7fELF\x02\x01\x01" + bytes(57), "a fat binary of zeros": bytes.fromhex("50ed55ba01001000") + bytes(64),
    "a cut fat binary": bytes.fromhex("50ed55ba010010000001000000000000"),
}  # fmt: skip


def image(name, loader):
    def run_one():
        d = Driver()
        d.quiet("cuInit", 0)
        d.quiet("cuCtxSetCurrent", d.make(P, "cuDevicePrimaryCtxRetain", 0))
        out, text = P(), ctypes.create_string_buffer(IMAGES[name] + bytes(4096))
        if loader == "cuModuleLoadData":
            d(loader, ctypes.byref(out), text)
            d(loader, ctypes.byref(out), (HERE / "kernels.ptx").read_bytes() + b"\0", label="cuModuleLoadData of a good one")
            return
        state, size = P(), SIZE(len(IMAGES[name]))
        d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
        if d("cuLinkAddData_v2", state, 1, text, size, b"name", 0, None, None) == 0:
            d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(size))
        d("cuLinkDestroy", state)

    return run_one


for one in IMAGES:
    CASES[f"image, {one}"] = image(one, "cuModuleLoadData")
    if "ELF" not in one and "fat" not in one:
        CASES[f"link, {one}"] = image(one, "cuLinkAddData")


@case
def other_images():
    d = start()
    out = P()
    d("cuModuleLoadData", ctypes.byref(out), None, label="cuModuleLoadData, no image")
    d("cuModuleLoadData", None, b"\0", label="cuModuleLoadData, no place")
    d("cuModuleLoad", ctypes.byref(out), b"/nowhere/at/all.ptx", label="cuModuleLoad, no file")
    d("cuModuleLoad", ctypes.byref(out), str(HERE).encode(), label="cuModuleLoad, a folder")
    d("cuLibraryLoadData", ctypes.byref(out), b"words\0", None, None, 0, None, None, 0, label="cuLibraryLoadData, words")
    state = P()
    d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
    d("cuLinkAddData_v2", state, 77, b"x\0", SIZE(2), b"n", 0, None, None, label="cuLinkAddData, no such kind")
    d("cuLinkAddFile_v2", state, 1, b"/nowhere.ptx", 0, None, None, label="cuLinkAddFile, no file")
    text = (HERE / "kernels.ptx").read_bytes() + b"\0"
    d("cuLinkAddData_v2", state, 1, text, SIZE(len(text)), b"a", 0, None, None, label="cuLinkAddData, good")
    d("cuLinkAddData_v2", state, 1, text, SIZE(len(text)), b"b", 0, None, None, label="cuLinkAddData, the same again")
    d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(SIZE()), label="cuLinkComplete, all twice")


@case
def an_open_variable_in_use():
    d = start()
    module = d.make(P, "cuModuleLoadData", IMAGES["an open extern variable"])
    d("cuModuleGetGlobal_v2", ctypes.byref(U64()), ctypes.byref(SIZE()), module, b"v", label="cuModuleGetGlobal, the variable")
    f = P()
    if d("cuModuleGetFunction", ctypes.byref(f), module, b"k", label="cuModuleGetFunction, who uses it") == 0:
        launch(d, "", f=f)
        d("cuCtxSynchronize")


def library(name):
    def run_one():
        d = start()
        made, out = P(), P()
        if d("cuLibraryLoadData", ctypes.byref(made), IMAGES[name], None, None, 0, None, None, 0) == 0:
            d("cuLibraryGetKernelCount", ctypes.byref(U32()), made)
            if d("cuLibraryGetKernel", ctypes.byref(out), made, b"k") == 0:
                d("cuKernelGetFunction", ctypes.byref(P()), out)
            d("cuLibraryGetModule", ctypes.byref(out), made)
            d("cuLibraryUnload", made)

    return run_one


for one in ("words", "an unknown instruction", "target sm_999", "an open extern function", "only a header", "version 99.0"):
    CASES[f"library, {one}"] = library(one)


@case
def a_link_after_a_refusal():
    d = start()
    state, out, size = P(), P(), SIZE()
    good = (HERE / "kernels.ptx").read_bytes() + b"\0"
    d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
    d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(size), label="cuLinkComplete, nothing added")
    d("cuLinkDestroy", state)
    d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
    bad = IMAGES["an unknown instruction"]
    d("cuLinkAddData_v2", state, 1, bad, SIZE(len(bad)), b"bad", 0, None, None)
    d("cuLinkAddData_v2", state, 1, good, SIZE(len(good)), b"good", 0, None, None, label="cuLinkAddData, good after bad")
    d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(size), label="cuLinkComplete, good after bad")
    d("cuLinkDestroy", state)
    d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
    d("cuLinkAddData_v2", state, 1, good, SIZE(len(good)), b"good", 0, None, None, label="cuLinkAddData, good")
    d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(size), label="cuLinkComplete, good")
    d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(size), label="cuLinkComplete, again")
    d("cuLinkAddData_v2", state, 1, good, SIZE(len(good)), b"late", 0, None, None, label="cuLinkAddData, after completing")
    d("cuLinkDestroy", state)
