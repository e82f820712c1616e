"""Debian's ffmpeg: each CUDA filter on a clip that ffmpeg makes, frame by frame against the CPU filter of that kind.

overlay, upload, scaling to the nearest pixel and thumbnails choose or move pixels: not one bit may differ.
The others compute otherwise than the CPU's filter does; they are held to the least signal-to-noise ratio, in dB, given
here, and how near they come is printed. expected/ffmpeg-h200.txt has the hashes of the frames that an H200 gave, and of the clips
that go in: they must be the same, but for Lanczos scaling, whose weights are approximations. The judge needs only ffmpeg,
NumPy and libcuda.so.1, so it runs on a GPU as it is.

  --hashes       also prints a line `hash SHA-256-OF-THE-FRAMES TEST`
  --save DIR     writes each test's frames there
  --against DIR  also compares with frames that another device saved there, and says how far they are apart
"""
import argparse
import hashlib
import lzma
import pathlib

import numpy

from verdict import CACHE, Wrong, check, run

HERE = pathlib.Path(__file__).resolve().parent

CLIP = "testsrc2=s=640x360:r=25:d=0.2"
LOGO = "testsrc=s=160x90:r=25:d=0.2"
EXACT = float("inf")
UP, DOWN = "hwupload", "hwdownload,format="
# Name, CUDA filters, CPU filters, pixel format of the result, least PSNR.
TESTS = [
    ("hwupload_cuda", "format=yuv420p,hwupload_cuda,hwdownload", "format=yuv420p", "yuv420p", EXACT),
    *(
        (f"scale_cuda {w}x{h} {mine}", f"format=yuv420p,{UP},scale_cuda={w}:{h}:interp_algo={mine},{DOWN}yuv420p",
         f"format=yuv420p,scale={w}:{h}:flags={theirs}+accurate_rnd", "yuv420p", least)
        for w, h in ((320, 180), (1280, 720))
        for mine, theirs, least in (
            ("nearest", "neighbor", EXACT), ("bilinear", "bilinear", 28), ("bicubic", "bicubic", 40), ("lanczos", "lanczos", 30)
        )
    ),
    ("scale_cuda nv12 to yuv444p", f"format=nv12,{UP},scale_cuda=640:360:format=yuv444p:passthrough=0,{DOWN}yuv444p",
     "format=nv12,scale=640:360:flags=bicubic+accurate_rnd,format=yuv444p", "yuv444p", 30),
    ("scale_cuda p010", f"format=p010,{UP},scale_cuda=320:180,{DOWN}p010",
     "format=p010,scale=320:180:flags=bicubic+accurate_rnd", "p010", 40),
    ("thumbnail_cuda", f"format=yuv420p,{UP},thumbnail_cuda=5,{DOWN}yuv420p", "format=yuv420p,thumbnail=5", "yuv420p", None),
    ("yadif_cuda", f"format=yuv420p,interlace,{UP},yadif_cuda=0,{DOWN}yuv420p", "format=yuv420p,interlace,yadif=0", "yuv420p", 50),
    ("chromakey_cuda", f"format=yuv420p,{UP},chromakey_cuda=0x00ff00:0.2:0.1,{DOWN}yuva420p",
     "format=yuva420p,chromakey=0x00ff00:0.2:0.1", "yuva420p", 25),
]  # fmt: skip


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", action="store_true")
    parser.add_argument("--save", type=pathlib.Path)
    parser.add_argument("--against", type=pathlib.Path)
    return parser.parse_args()


def sample(pixels):
    return numpy.dtype("<u2") if pixels == "p010" else numpy.dtype(numpy.uint8)


def frames(filters, pixels, *inputs):
    """Without the processor's vector instructions, so that what goes into the CUDA filters is the same on every machine."""
    words = ["-cpuflags", "0", "-hide_banner", "-nostdin", "-v", "error", "-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu"]
    for source in inputs:
        words += ["-f", "lavfi", "-i", source]
    words += ["-filter_complex", filters, "-pix_fmt", pixels, "-f", "rawvideo", "-"]
    return numpy.frombuffer(run(f"{CACHE}/ffmpeg/ffmpeg", *words), sample(pixels))


def compare(mine, theirs, least):
    if mine.size != theirs.size or not mine.size:
        raise Wrong(f"{mine.size} samples, not {theirs.size}")
    difference = mine.astype(float) - theirs
    most, error = abs(difference).max(), (difference**2).mean()
    if not error:
        return "same bits"
    noise = 10 * numpy.log10(float(numpy.iinfo(mine.dtype).max) ** 2 / error)
    found = f"PSNR {noise:.1f} dB, largest difference {most:.0f}, {100 * (difference != 0).mean():.1f} % of the samples"
    if noise < least:
        raise Wrong(f"{found}; at least {least} dB expected")
    return found


def made(name, filters, pixels, *inputs):
    """The frames of a test, which are kept for what is compared later."""
    mine = MADE[name] = frames(filters, pixels, *inputs)
    if OPTIONS.hashes:
        print("hash", digest(name), name, flush=True)
    if OPTIONS.save:
        saved(OPTIONS.save, name).write_bytes(lzma.compress(mine.tobytes(), preset=1))
    return mine


def digest(name):
    return hashlib.sha256(MADE[name].tobytes()).hexdigest()


def saved(folder, name):
    return folder / f"{name.replace(' ', '_')}.xz"


def source(name, text):
    pixels = "yuva420p" if text == LOGO else "yuv420p"
    return f"{made(name, f'format={pixels}', pixels, text).size} samples"


def both(name, cuda, cpu, pixels, least, *inputs):
    return compare(made(name, cuda, pixels, *inputs), frames(cpu, pixels, *inputs), least)


def overlay(name, x, y, opacity):
    logo = f"[1]format=yuva420p,colorchannelmixer=aa={opacity},format=yuva420p"
    cuda = f"[0]format=yuv420p,{UP}[a];{logo},{UP}[b];[a][b]overlay_cuda=x={x}:y={y},{DOWN}yuv420p"
    cpu = f"[0]format=yuv420p[a];{logo}[b];[a][b]overlay=x={x}:y={y}"
    return both(name, cuda, cpu, "yuv420p", EXACT if opacity == 1 else 45, CLIP, LOGO)


def thumbnail(name, cuda, pixels):
    """Both choose a frame of five by their histograms, which they make of other planes: any whole frame will do."""
    chosen, all_frames = made(name, cuda, pixels, CLIP), frames("format=yuv420p", pixels, CLIP)
    size = 640 * 360 * 3 // 2
    whole = {frame.tobytes() for frame in all_frames.reshape(-1, size)}
    for frame in chosen.reshape(-1, size):
        if frame.tobytes() not in whole:
            raise Wrong("a frame that is not in the clip")
    return f"{chosen.size // size} frames"


def recorded():
    """Test -> SHA-256 of the frames that an H200 gave; of those that must have its bits."""
    lines = (HERE / "expected" / "ffmpeg-h200.txt").read_text().splitlines()
    pairs = [line.split(None, 1) for line in lines if not line.startswith("#") and not line.endswith(" bound")]
    return {name: found for found, name in pairs}


def alike(name):
    if digest(name) != H200[name]:
        raise Wrong("not the bits that an H200 gave")


def near(name):
    theirs = lzma.decompress(saved(OPTIONS.against, name).read_bytes())
    return compare(MADE[name], numpy.frombuffer(theirs, MADE[name].dtype), 0)


def judge(name, work, *arguments):
    check(name, work, name, *arguments)
    if name in H200:
        check(f"{name}: the bits of an H200", alike, name)
    if OPTIONS.against:
        check(f"{name}: beside {OPTIONS.against.name}", near, name)


OPTIONS, MADE, H200 = options(), {}, recorded()
judge("clip", source, CLIP)
judge("logo", source, LOGO)
for name, cuda, cpu, pixels, least in TESTS:
    if least is None:
        judge(name, thumbnail, cuda, pixels)
    else:
        judge(name, both, cuda, cpu, pixels, least, CLIP)
for place in ((40, 20), (0, 0), (480, 270)):
    judge(f"overlay_cuda at {place[0]},{place[1]}", overlay, *place, 1)
judge("overlay_cuda, half transparent", overlay, 40, 20, 0.5)
