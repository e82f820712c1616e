"""Scaled dot product attention with each of PyTorch's back-ends, forwards and backwards; and FlexAttention."""
import torch
from judge import part, run
from torch.nn.attention import SDPBackend, sdpa_kernel


def heads(seed, dtype, length=256, width=64):
    return torch.randn(2, 8, length, width, generator=torch.Generator().manual_seed(seed)).to("cuda", dtype).requires_grad_()


def attend(backend, dtype, **more):
    q, k, v = (heads(seed, dtype) for seed in (1, 2, 3))
    with sdpa_kernel(backend):
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, **more)
    out.backward(torch.ones_like(out))
    return {"out": out, "query": q.grad, "key": k.grad, "value": v.grad}


@part
def math():
    return {"half": attend(SDPBackend.MATH, torch.float16), "single": attend(SDPBackend.MATH, torch.float32, is_causal=True)}


@part
def flash():
    found = {"half": attend(SDPBackend.FLASH_ATTENTION, torch.float16), "bf16": attend(SDPBackend.FLASH_ATTENTION, torch.bfloat16, is_causal=True)}
    return found


@part
def efficient():
    mask = torch.ones(256, 256, dtype=torch.bool, device="cuda").tril(16)
    return {
        "half": attend(SDPBackend.EFFICIENT_ATTENTION, torch.float16), "single": attend(SDPBackend.EFFICIENT_ATTENTION, torch.float32, is_causal=True),
        "masked": attend(SDPBackend.EFFICIENT_ATTENTION, torch.bfloat16, attn_mask=mask),
    }  # fmt: skip


@part
def cudnn():
    return {"half": attend(SDPBackend.CUDNN_ATTENTION, torch.float16), "bf16": attend(SDPBackend.CUDNN_ATTENTION, torch.bfloat16, is_causal=True)}


@part
def chosen():
    """Whichever PyTorch takes."""
    return attend([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION], torch.float16)


@part
def grouped():
    q, k, v = heads(1, torch.float16), heads(2, torch.float16)[:, :2], heads(3, torch.float16)[:, :2]
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)


@part
def transformer_layer():
    torch.manual_seed(4)
    layer = torch.nn.TransformerEncoderLayer(128, 8, batch_first=True).eval().cuda().half()
    with torch.no_grad():
        return layer(torch.randn(4, 50, 128, generator=torch.Generator().manual_seed(5)).cuda().half())


@part
def flex():
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, 256, 256, device="cuda")
    return torch.compile(flex_attention)(heads(1, torch.float16), heads(2, torch.float16), heads(3, torch.float16), block_mask=mask)


run()
