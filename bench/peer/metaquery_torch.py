#!/usr/bin/env python3
"""A plain-PyTorch peer of the MetaQuery generation pipeline.

prompt -> frozen LLM + learned queries -> connector -> Sana DiT (DPM-Solver++) -> DC-AE decoder -> image

One file; needs torch only: Debian's python3-torch 1.13.1 or a current one.
  python3 metaquery_torch.py parity                  check every module against parity.safetensors
  python3 metaquery_torch.py bench [--threads 2]     time condition, denoise step, decode, bulk generation
  python3 metaquery_torch.py train-bench             time one training step, with its parts

Parameter names are those of the published checkpoints (transformers Llama/Qwen2, diffusers SanaTransformer2DModel
and AutoencoderDC, facebookresearch/metaquery connector). Numerics follow transformers 4.49 and diffusers 0.33.1.
"""
import argparse
import json
import math
import mmap
import os
import statistics
import struct
import sys
import time
from collections import OrderedDict

if __name__ == "__main__":  # OpenBLAS and OpenMP read their thread counts when torch loads them
    words = " ".join(sys.argv).replace("=", " ").split()
    count = words[words.index("--threads") + 1] if "--threads" in words[:-1] else "1"
    os.environ.update(OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count, MKL_NUM_THREADS=count)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

# --- safetensors
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "BOOL": torch.bool,
          "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

def load_safetensors(path):
    """Returns (tensors, metadata). Tensors share one private memory map: pages are read when they are touched."""
    with open(path, "rb") as file:
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    (size,) = struct.unpack("<Q", buffer[:8])
    if size > len(buffer) - 8:
        raise ValueError(f"{path}: header of {size} bytes exceeds the file")
    header = json.loads(buffer[8:8 + size])
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        dtype, shape, (start, end) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        count = math.prod(shape)
        tensors[name] = torch.empty(shape, dtype=dtype)
        if not 0 <= start <= end <= len(buffer) - 8 - size or end - start != count * tensors[name].element_size():
            raise ValueError(f"{path}: bad offsets of {name}")
        if count:
            tensors[name] = torch.frombuffer(buffer, dtype=dtype, count=count, offset=8 + size + start).reshape(shape)
    return tensors, metadata

def save_safetensors(path, tensors, metadata=None):
    header, offset, ordered = {"__metadata__": metadata or {}}, 0, sorted(tensors.items())
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in ordered:
            file.write(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())

# --- shared layers
def module_tree(**children):
    """A module that only names its children, for the layouts of the checkpoints."""
    tree = nn.Module()
    for name, child in children.items():
        tree.add_module(name, child)
    return tree

class RMSNorm(nn.Module):
    """Over the last dimension; over dimension 1 (channels of NCHW) with dim=1."""
    def __init__(self, size, eps, bias=False, dim=-1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.eps, self.dim = eps, dim

    def forward(self, x):
        wide = x.float()
        x = (wide * torch.rsqrt(wide.pow(2).mean(self.dim, keepdim=True) + self.eps)).to(x.dtype)
        shape = (-1, 1, 1) if self.dim == 1 else (-1,)
        x = x * self.weight.view(shape)
        return x if self.bias is None else x + self.bias.view(shape)

class MultiHeadRMSNorm(nn.Module):
    def __init__(self, size, heads):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, 1, size))

    def forward(self, x):
        return F.normalize(x, dim=-1) * self.gamma * x.shape[-1] ** 0.5

def attention(q, k, v, bias=None):
    """q (B, H, S, D); k, v (B, G, T, D) with G dividing H; bias additive, (B or 1, 1, S or 1, T)."""
    batch, heads, length, size = q.shape
    groups, total = k.shape[1:3]
    if hasattr(F, "scaled_dot_product_attention"):
        if groups != heads:
            k, v = (x.repeat_interleave(heads // groups, 1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    q = (q * size ** -0.5).reshape(batch, groups, -1, size)
    scores = q @ k.transpose(-1, -2)
    if bias is not None:
        scores = (scores.view(batch, groups, heads // groups, length, total) + bias[:, :, None]).view(scores.shape)
    return (scores.softmax(-1) @ v).view(batch, heads, length, size)

def linear_attention(q, k, v):
    """ReLU attention in O(tokens): q, k, v (B, H, D, T); a row of ones under v carries the normaliser."""
    q, k, v = F.relu(q).float(), F.relu(k).float(), F.pad(v.float(), (0, 0, 0, 1), value=1.0)
    out = (v @ k.transpose(-1, -2)) @ q
    return out[:, :, :-1] / (out[:, :, -1:] + 1e-15)

class GLUMBConv(nn.Module):
    """1x1 expand, 3x3 depthwise, gate, 1x1 project."""
    def __init__(self, channels, ratio=4.0, norm=False, residual=False):
        super().__init__()
        hidden = int(ratio * channels)
        self.conv_inverted = nn.Conv2d(channels, hidden * 2, 1)
        self.conv_depth = nn.Conv2d(hidden * 2, hidden * 2, 3, 1, 1, groups=hidden * 2)
        self.conv_point = nn.Conv2d(hidden, channels, 1, bias=False)
        self.norm = RMSNorm(channels, 1e-5, bias=True, dim=1) if norm else None
        self.residual = residual

    def forward(self, x):
        h, gate = self.conv_depth(F.silu(self.conv_inverted(x))).chunk(2, dim=1)
        h = self.conv_point(h * F.silu(gate))
        h = h if self.norm is None else self.norm(h)
        return h + x if self.residual else h

# --- language model (Llama, Qwen2) and connector (bidirectional, q/k norm after rope)
def rope_tables(positions, size, theta, dtype):
    angles = positions.float()[:, None] / theta ** (torch.arange(0, size, 2).float() / size)
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)

def rotate(x, cos, sin):
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], -1) * sin

class TransformerLayer(nn.Module):
    def __init__(self, c, bias, qk_norm=False):
        super().__init__()
        hidden, inner, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
        size, groups = c.get("head_dim") or hidden // heads, c.get("num_key_value_heads", heads)
        self.head_dim = size
        self.self_attn = module_tree(
            q_proj=nn.Linear(hidden, heads * size, bias), k_proj=nn.Linear(hidden, groups * size, bias),
            v_proj=nn.Linear(hidden, groups * size, bias), o_proj=nn.Linear(heads * size, hidden, False),
            q_norm=MultiHeadRMSNorm(size, heads) if qk_norm else nn.Identity(),
            k_norm=MultiHeadRMSNorm(size, groups) if qk_norm else nn.Identity())
        self.mlp = module_tree(gate_proj=nn.Linear(hidden, inner, False), up_proj=nn.Linear(hidden, inner, False),
                               down_proj=nn.Linear(inner, hidden, False))
        self.input_layernorm = RMSNorm(hidden, c["rms_norm_eps"])
        self.post_attention_layernorm = RMSNorm(hidden, c["rms_norm_eps"])

    def forward(self, x, rope, bias=None, past=None):
        attn, mlp, h = self.self_attn, self.mlp, self.input_layernorm(x)
        q, k, v = (proj(h).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
                   for proj in (attn.q_proj, attn.k_proj, attn.v_proj))
        q, k = attn.q_norm(rotate(q, *rope)), attn.k_norm(rotate(k, *rope))
        if past is not None:
            k, v = (torch.cat([old.expand(len(x), -1, -1, -1), new], 2) for old, new in zip(past, (k, v)))
        x = x + attn.o_proj(attention(q, k, v, bias).transpose(1, 2).flatten(2))
        h = self.post_attention_layernorm(x)
        return x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h)), (k, v)

class LanguageModel(nn.Module):
    """Decoder up to its final norm; MetaQuery replaces the LM head by the identity."""
    def __init__(self, c):
        super().__init__()
        self.theta, bias = c["rope_theta"], c.get("qkv_bias", c.get("attention_bias", False))
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(TransformerLayer(c, bias) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x, keep=None, past=None):
        """x: embeddings (B, S, H); keep (B, T) false for padding; past: an earlier call's cache. -> hidden, cache"""
        start, cache = past[0][0].shape[2] if past else 0, []
        total = start + x.shape[1]
        allowed = torch.ones(x.shape[1], total, dtype=torch.bool).tril(start)[None, None]
        if keep is not None:  # a fully masked row (left padding) attends to itself, so that it stays finite
            allowed = allowed & keep[:, None, None].bool() | torch.eye(total, dtype=torch.bool)[start:]
        bias = torch.zeros(allowed.shape, dtype=x.dtype).masked_fill_(~allowed, float("-inf"))
        rope = rope_tables(torch.arange(start, total), self.layers[0].head_dim, self.theta, x.dtype)
        for index, layer in enumerate(self.layers):
            x, pair = layer(x, rope, bias, past[index] if past else None)
            cache.append(pair)
        return self.norm(x), cache

class ConnectorEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.theta = c["rope_theta"]
        self.layers = nn.ModuleList(TransformerLayer(c, True, qk_norm=True) for _ in range(c["num_hidden_layers"]))

    def forward(self, x):
        rope = rope_tables(torch.arange(x.shape[1]), self.layers[0].head_dim, self.theta, x.dtype)
        for layer in self.layers:
            x, _ = layer(x, rope)
        return x

def connector(c):
    return nn.Sequential(ConnectorEncoder(c), nn.Linear(c["hidden_size"], c["out_dim"]), nn.GELU(approximate="tanh"),
                         nn.Linear(c["out_dim"], c["out_dim"]), RMSNorm(c["out_dim"], 1e-5))

# --- Sana diffusion transformer
class ProjectionAttention(nn.Module):
    """Holds diffusers' Attention weights; linear self-attention, or softmax attention to given keys and values."""
    def __init__(self, dim, heads, head_dim, context_dim, bias):
        super().__init__()
        self.heads, inner = heads, heads * head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(size, inner, bias) for size in (dim, context_dim, context_dim))
        self.to_out = nn.ModuleList([nn.Linear(inner, dim)])

    def linear(self, x):
        q, k, v = (proj(x).transpose(1, 2).unflatten(1, (self.heads, -1)) for proj in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](linear_attention(q, k, v).flatten(1, 2).transpose(1, 2).to(x.dtype))

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, context):
        return self.split(self.to_k(context)), self.split(self.to_v(context))

    def cross(self, x, keys_values, bias):
        out = attention(self.split(self.to_q(x)), *keys_values, bias)
        return self.to_out[0](out.transpose(1, 2).flatten(2))

class SanaBlock(nn.Module):
    def __init__(self, c, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False, eps=c["norm_eps"])
        heads, cross = c["num_attention_heads"], c["num_cross_attention_heads"]
        self.attn1 = ProjectionAttention(dim, heads, c["attention_head_dim"], dim, c["attention_bias"])
        self.attn2 = ProjectionAttention(dim, cross, c["cross_attention_head_dim"], c["cross_attention_dim"], True)
        self.ff = GLUMBConv(dim, c["mlp_ratio"])
        self.scale_shift_table = nn.Parameter(torch.randn(6, dim) / dim ** 0.5)

    def forward(self, x, modulation, keys_values, bias, grid):
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.scale_shift_table + modulation).chunk(6, dim=1)
        x = x + gate1 * self.attn1.linear(self.norm(x) * (1 + scale1) + shift1)
        x = x + self.attn2.cross(x, keys_values, bias)
        h = (self.norm(x) * (1 + scale2) + shift2).unflatten(1, grid).permute(0, 3, 1, 2)  # channels-last view
        return x + gate2 * self.ff(h).flatten(2).transpose(1, 2)

def two_linear(inner, outer):
    return module_tree(linear_1=nn.Linear(inner, outer), linear_2=nn.Linear(outer, outer))

class SanaTransformer(nn.Module):
    DEFAULTS = {"patch_size": 1, "norm_eps": 1e-6, "attention_bias": False, "mlp_ratio": 2.5}

    def __init__(self, config):
        super().__init__()
        c = self.config = {**self.DEFAULTS, **config}
        if c.get("qk_norm") or c.get("guidance_embeds") or c.get("interpolation_scale"):
            raise ValueError("qk_norm, guidance_embeds and interpolation_scale are not supported")
        dim, patch = c["num_attention_heads"] * c["attention_head_dim"], c["patch_size"]
        self.patch_embed = module_tree(proj=nn.Conv2d(c["in_channels"], dim, patch, patch))
        self.time_embed = module_tree(emb=module_tree(timestep_embedder=two_linear(256, dim)),
                                      linear=nn.Linear(dim, 6 * dim))
        self.caption_projection = two_linear(c["caption_channels"], dim)
        self.caption_norm = RMSNorm(dim, 1e-5)
        self.transformer_blocks = nn.ModuleList(SanaBlock(c, dim) for _ in range(c["num_layers"]))
        self.norm_out = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.scale_shift_table = nn.Parameter(torch.randn(2, dim) / dim ** 0.5)
        self.proj_out = nn.Linear(dim, patch * patch * c["out_channels"])

    def context(self, cond, keep=None):
        """What the blocks need of the condition: it does not depend on the step. -> [(k, v)], bias"""
        proj = self.caption_projection
        cond = self.caption_norm(proj.linear_2(F.gelu(proj.linear_1(cond), approximate="tanh")))
        bias = None if keep is None else (1 - keep.to(cond.dtype))[:, None, None] * -10000.0
        return [block.attn2.keys_values(cond) for block in self.transformer_blocks], bias

    def forward(self, latents, timestep, cond=None, keep=None, context=None):
        keys_values, bias = context or self.context(cond, keep)
        patch = self.config["patch_size"]
        grid = latents.shape[2] // patch, latents.shape[3] // patch
        x = self.patch_embed.proj(latents).flatten(2).transpose(1, 2)
        angles = timestep.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(128).float() / 128)
        embed = self.time_embed.emb.timestep_embedder
        time_vector = embed.linear_1(torch.cat([angles.cos(), angles.sin()], -1).to(x.dtype))
        time_vector = embed.linear_2(F.silu(time_vector))
        modulation = self.time_embed.linear(F.silu(time_vector)).unflatten(1, (6, -1))
        for block, pair in zip(self.transformer_blocks, keys_values):
            x = block(x, modulation, pair, bias, grid)
        shift, scale = (self.scale_shift_table + time_vector[:, None]).chunk(2, dim=1)
        x = self.proj_out(self.norm_out(x) * (1 + scale) + shift)
        x = x.unflatten(2, (patch, patch, -1)).unflatten(1, grid).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(len(x), -1, grid[0] * patch, grid[1] * patch)

# --- DC-AE
def conv3(inputs, outputs, stride=1, bias=True):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)

class ResBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = conv3(channels, channels), conv3(channels, channels, bias=False)
        self.norm = RMSNorm(channels, 1e-5, bias=True, dim=1)

    def forward(self, x):
        return x + self.norm(self.conv2(F.silu(self.conv1(x))))

class MultiscaleAttention(nn.Module):
    def __init__(self, channels, head_dim, kernels):
        super().__init__()
        inner, self.head_dim = channels // head_dim * head_dim, head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, inner, bias=False) for _ in range(3))
        wide = 3 * inner
        self.to_qkv_multiscale = nn.ModuleList(module_tree(
            proj_in=nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False),
            proj_out=nn.Conv2d(wide, wide, 1, groups=wide // head_dim, bias=False)) for kernel in kernels)
        self.to_out = nn.Linear(inner * (1 + len(kernels)), channels, bias=False)
        self.norm_out = RMSNorm(channels, 1e-5, bias=True, dim=1)

    def forward(self, x):
        batch, _, height, width = x.shape
        tokens = x.movedim(1, -1)
        qkv = torch.cat([self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)], -1).movedim(-1, 1)
        qkv = torch.cat([qkv] + [scale.proj_out(scale.proj_in(qkv)) for scale in self.to_qkv_multiscale], 1)
        q, k, v = qkv.reshape(batch, -1, 3 * self.head_dim, height * width).chunk(3, dim=2)
        if height * width > self.head_dim:
            out = linear_attention(q, k, v).to(x.dtype)
        else:
            scores = (F.relu(k).transpose(-1, -2) @ F.relu(q)).float()
            out = v @ (scores / (scores.sum(2, keepdim=True) + 1e-15)).to(v.dtype)
        out = self.to_out(out.reshape(batch, -1, height, width).movedim(1, -1)).movedim(-1, 1)
        return x + self.norm_out(out)

def stage_blocks(c, side, stage):
    """The blocks of one resolution; side is "encoder" or "decoder"."""
    kind, channels, count, kernels = (c[f"{side}_{key}"][stage] for key in (
        "block_types", "block_out_channels", "layers_per_block", "qkv_multiscales"))
    if kind == "ResBlock":
        return [ResBlock(channels) for _ in range(count)]
    return [nn.Sequential(OrderedDict(attn=MultiscaleAttention(channels, c["attention_head_dim"], kernels),
                                      conv_out=GLUMBConv(channels, norm=True, residual=True))) for _ in range(count)]

class Down(nn.Module):
    def __init__(self, inputs, outputs, unshuffle, shortcut=True):
        super().__init__()
        self.unshuffle, self.shortcut, self.group = unshuffle, shortcut, inputs * 4 // outputs
        self.conv = conv3(inputs, outputs // 4) if unshuffle else conv3(inputs, outputs, 2)

    def forward(self, x):
        h = F.pixel_unshuffle(self.conv(x), 2) if self.unshuffle else self.conv(x)
        return h + F.pixel_unshuffle(x, 2).unflatten(1, (-1, self.group)).mean(2) if self.shortcut else h

class Up(nn.Module):
    def __init__(self, inputs, outputs, interpolate, shortcut=True):
        super().__init__()
        self.interpolate, self.shortcut, self.repeats = interpolate, shortcut, outputs * 4 // inputs
        self.conv = conv3(inputs, outputs if interpolate else outputs * 4)

    def forward(self, x):
        h = self.conv(F.interpolate(x, scale_factor=2)) if self.interpolate else F.pixel_shuffle(self.conv(x), 2)
        return h + F.pixel_shuffle(x.repeat_interleave(self.repeats, 1), 2) if self.shortcut else h

class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        channels, layers, latent = c["encoder_block_out_channels"], c["encoder_layers_per_block"], c["latent_channels"]
        unshuffle = c["downsample_block_type"] == "pixel_unshuffle"
        self.conv_in = (conv3(c["in_channels"], channels[0]) if layers[0] else
                        Down(c["in_channels"], channels[1], unshuffle, shortcut=False))
        self.down_blocks = nn.ModuleList()
        for i, (width, count) in enumerate(zip(channels, layers)):
            last = [Down(width, channels[i + 1], unshuffle)] if i < len(channels) - 1 and count else []
            self.down_blocks.append(nn.Sequential(*stage_blocks(c, "encoder", i), *last))
        self.conv_out, self.group = conv3(channels[-1], latent), channels[-1] // latent

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(x) + x.unflatten(1, (-1, self.group)).mean(2)

class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        channels, layers, latent = c["decoder_block_out_channels"], c["decoder_layers_per_block"], c["latent_channels"]
        interpolate = c["upsample_block_type"] == "interpolate"
        self.conv_in, self.repeats = conv3(latent, channels[-1]), channels[-1] // latent
        self.up_blocks = nn.ModuleList()
        for i, (width, count) in enumerate(zip(channels, layers)):
            first = [Up(channels[i + 1], width, interpolate)] if i < len(channels) - 1 and count else []
            self.up_blocks.append(nn.Sequential(*first, *stage_blocks(c, "decoder", i)))
        width = channels[0] if layers[0] else channels[1]
        self.norm_out = RMSNorm(width, 1e-5, bias=True, dim=1)
        self.conv_out = (conv3(width, c["in_channels"]) if layers[0] else
                         Up(width, c["in_channels"], interpolate, shortcut=False))

    def forward(self, x):
        x = self.conv_in(x) + x.repeat_interleave(self.repeats, 1)
        for block in reversed(self.up_blocks):
            x = block(x)
        return self.conv_out(F.relu(self.norm_out(x)))

class AutoencoderDC(nn.Module):
    FIXED = {"decoder_norm_types": "rms_norm", "decoder_act_fns": "silu"}
    DEFAULTS = {"in_channels": 3, "attention_head_dim": 32, "scaling_factor": 1.0, **FIXED,
                "upsample_block_type": "pixel_shuffle", "downsample_block_type": "pixel_unshuffle"}

    def __init__(self, config):
        super().__init__()
        self.config = {**self.DEFAULTS, **config}
        if {**self.config, **self.FIXED} != self.config:
            raise ValueError(f"only {self.FIXED} is supported")
        self.encoder, self.decoder = Encoder(self.config), Decoder(self.config)

# --- sampling
def snr(sigma):
    return math.log((1 - sigma) / sigma)

class FlowDPMSolver:
    """DPM-Solver++ 2M (midpoint) on flow predictions; the schedule of Sana's scheduler_config.json."""
    def __init__(self, steps, shift=3.0, train_steps=1000):
        sigmas = 1 - torch.linspace(1, 1 / train_steps, steps + 1, dtype=torch.float64)
        sigmas = (shift * sigmas / (1 + (shift - 1) * sigmas)).flip(0)[:-1]
        self.timesteps = (sigmas * train_steps).to(torch.int64)
        self.sigmas = sigmas.tolist() + [0.0]
        self.index, self.previous = 0, None

    def step(self, flow, x):
        before, now, after = self.sigmas[self.index - 1], *self.sigmas[self.index:self.index + 2]
        clean = direction = x - now * flow
        if self.previous is not None and after > 0:
            direction = clean + 0.5 * (snr(after) - snr(now)) / (snr(now) - snr(before)) * (clean - self.previous)
        self.index, self.previous = self.index + 1, clean
        if after == 0:
            return clean
        return (after / now) * x - (1 - after) * math.expm1(snr(now) - snr(after)) * direction

class MetaQuery(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.llm, self.connector = LanguageModel(c["llm"]), connector(c["connector"])
        self.dit, self.vae = SanaTransformer(c["dit"]), AutoencoderDC(c["vae"])
        self.queries = nn.Parameter(torch.randn(c["queries"], c["llm"]["hidden_size"]) * 0.02)

    def hidden(self, ids, keep=None):
        """LLM states of the queries behind ids (B, S), which are left-padded where keep is false."""
        embeds = torch.cat([self.llm.embed_tokens(ids), self.queries.expand(len(ids), -1, -1)], 1)
        keep = keep if keep is None else F.pad(keep, (0, len(self.queries)), value=True)
        return self.llm(embeds, keep)[0][:, ids.shape[1]:]

    def condition(self, ids, keep=None):
        return self.connector(self.hidden(ids, keep))

    def denoise(self, noise, uncond, cond, steps, guidance=3.0, reuse_context=False, shift=3.0):
        """uncond, cond: one row per image. reuse_context: cross-attention keys and values once, not at every step."""
        cond = torch.cat([uncond, cond])
        context = self.dit.context(cond) if reuse_context else None
        solver, x = FlowDPMSolver(steps, shift), noise
        for timestep in solver.timesteps:
            flow = self.dit(torch.cat([x, x]).to(cond.dtype), timestep.expand(len(cond)), cond, context=context)
            low, high = flow.float().chunk(2)
            x = solver.step(low + guidance * (high - low), x)
        return x

    def decode(self, latents):
        latents = latents / self.vae.config["scaling_factor"]
        image = self.vae.decoder(latents.to(self.vae.decoder.conv_in.weight.dtype))
        return (image.float() / 2 + 0.5).clamp(0, 1)

    def flow_loss(self, clean, noise, timestep, cond, keep=None):
        sigma = (timestep.float() / 1000).view(-1, 1, 1, 1)
        flow = self.dit((1 - sigma) * clean + sigma * noise, timestep, cond, keep)
        return F.mse_loss(flow.float(), noise - clean)

# --- parity with transformers, diffusers and the reference connector
def parity(args):
    tensors, metadata = load_safetensors(args.file)
    config, failures = json.loads(metadata["config"]), []

    def part(prefix):
        return {name[len(prefix):]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    def load(case, build):
        module = build(config[case]).eval()
        module.load_state_dict(part(case + ".w."))
        return module, part(case + ".io.")
    def check(name, got, want):
        error = (got.double() - want.double()).abs().max().item()
        ok = got.shape == want.shape and error <= args.tolerance
        failures.extend([] if ok else [name])
        print(f"{'ok  ' if ok else 'FAIL'} {name:31} max abs error {error:.2e} of {want.double().abs().max():.3f}")
    with torch.no_grad():
        for case in ("llama", "qwen2"):
            model, io = load(case, LanguageModel)
            embeds, keep, half = model.embed_tokens(io["ids"]), io["keep"], io["ids"].shape[1] // 2
            check(case, model(embeds, keep)[0][keep], io["hidden"][keep])
            head, past = model(embeds[:, :half], keep[:, :half])
            tail, _ = model(embeds[:, half:], keep, past)
            check(case + " with kv cache", torch.cat([head, tail], 1)[keep], io["hidden"][keep])
        model, io = load("connector", connector)
        check("connector", model(io["x"]), io["out"])
        for case in ("sana", "sana_patch2"):
            model, io = load(case, SanaTransformer)
            check(case, model(io["x"], io["t"], io["cond"], io["keep"]), io["out"])
        for case in ("dcae", "dcae_shuffle"):
            model, io = load(case, AutoencoderDC)
            check(case + " encoder", model.encoder(io["image"]), io["latent"])
            check(case + " decoder", model.decoder(io["latent"]), io["decoded"])
        for steps in (2, 8, 20):
            solver, io = FlowDPMSolver(steps), part(f"solver.{steps}.")
            check(f"solver {steps} timesteps", solver.timesteps, io["timesteps"])
            path = [io["noise"]]
            for timestep in solver.timesteps:
                path.append(solver.step(torch.sin(3 * path[-1]) + 0.5 * path[-1] * timestep / 1000, path[-1]))
            check(f"solver {steps} trajectory", torch.stack(path[1:]), io["path"])
    model, io = load("pipeline", MetaQuery)
    with torch.no_grad():
        cond = model.condition(io["ids"], io["keep"])
        check("pipeline condition", cond, io["cond"])
        alone = torch.cat([model.condition(row[keep][None]) for row, keep in zip(io["ids"], io["keep"])])
        check("pipeline condition unpadded", alone, io["cond"])
        for reuse in (False, True):
            latents = model.denoise(io["noise"], cond[:1].expand(len(io["noise"]), -1, -1), cond[1:], 6, 3.0, reuse)
            check("pipeline latents" + " (context once)" * reuse, latents, io["latents"])
        check("pipeline image", model.decode(latents), io["image"])
    cond = model.condition(io["ids"][1:], io["keep"][1:])
    loss = model.flow_loss(io["noise"], io["train_noise"], io["train_t"], cond)
    loss.backward()
    check("training loss", loss, io["train_loss"])
    check("training gradient of queries", model.queries.grad, io["train_grad_queries"])
    for name in ("dit.transformer_blocks.0.ff.conv_depth", "connector.0.layers.0.self_attn.q_proj"):
        check("gradient ..." + name[-19:], model.get_submodule(name).weight.grad, io["train_grad." + name])
    print("failed: " + ", ".join(failures) if failures else "all within tolerance")
    return 1 if failures else 0

# --- measurement
LLM = {"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,  # SmolLM2-135M
       "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5, "rope_theta": 1e5}
DIT = {"in_channels": 16, "out_channels": 16, "num_attention_heads": 12, "attention_head_dim": 32, "num_layers": 10,
       "num_cross_attention_heads": 6, "cross_attention_head_dim": 64, "cross_attention_dim": 384,
       "caption_channels": 384, "mlp_ratio": 2.5, "sample_size": 8}
STAGES = {"block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"], "qkv_multiscales": [[], [], [], [5]],
          "block_out_channels": [32, 64, 128, 256], "layers_per_block": [0, 2, 2, 2]}  # first stage: resampling only
VAE = {**{f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in STAGES.items()},
       "latent_channels": 16, "upsample_block_type": "interpolate", "downsample_block_type": "conv"}

def build(args):
    def settings(name, defaults):
        text = getattr(args, name)
        return {**defaults, **(json.load(open(text)) if os.path.isfile(text) else json.loads(text))}
    config = {"llm": settings("llm", LLM), "dit": settings("dit", DIT), "vae": settings("vae", VAE)}
    config["queries"], hidden = args.queries, config["llm"]["hidden_size"]
    config["connector"] = settings("connector", {
        "num_hidden_layers": 4, "hidden_size": hidden, "intermediate_size": 4 * hidden, "rms_norm_eps": 1e-6,
        "num_attention_heads": hidden // 64, "rope_theta": 1e4, "out_dim": config["dit"]["caption_channels"]})
    torch.manual_seed(args.seed)
    layout = torch.channels_last if args.channels_last else torch.preserve_format
    return MetaQuery(config).eval().to(getattr(torch, args.dtype), memory_format=layout), config

MARKS = []  # (part, when it ended) in the run being measured

def mark(part):
    MARKS.append((part, time.perf_counter()))

def measure(run, repeats, model=None):
    """A warm run, which counts the work of linear and convolution layers (none for a single run), then the timed."""
    count, times = [0], []

    def hook(layer, _, output):
        count[0] += 2 * output.numel() * layer.weight[0].numel()
    hooks = [layer.register_forward_hook(hook) for layer in (model.modules() if model else ())
             if isinstance(layer, (nn.Linear, nn.Conv2d))]
    if repeats > 1 or model:
        run()
    for handle in hooks:
        handle.remove()
    for _ in range(repeats):
        cpu, MARKS[:] = time.process_time(), [("", time.perf_counter())]
        run()
        times.append((time.perf_counter() - MARKS[0][1], time.process_time() - cpu, list(MARKS)))
    walls, cpus, paths = zip(*times)
    best, marks = min(walls), paths[walls.index(min(walls))]
    result = {"min_ms": best, "median_ms": statistics.median(walls), "cpu_min_ms": min(cpus)}
    result = {name: round(seconds * 1e3, 2) for name, seconds in result.items()}
    if model:
        result.update(gflop=round(count[0] / 1e9, 3), gflops_per_s=round(count[0] / best / 1e9, 1))
    for (_, start), (name, end) in zip(marks, marks[1:]):
        parts = result.setdefault("parts_ms", {})
        parts[name] = round(parts.get(name, 0) + (end - start) * 1e3, 1)
    return result

def machine(args):
    a, b = torch.randn(2, 2048, 2048).to(getattr(torch, args.dtype))
    peak = 2 * 2048 ** 3 / measure(lambda: a @ b, 10)["min_ms"] / 1e6
    capability = torch.__config__.show().split("CPU capability usage:")[1].split()[0]
    return {"torch": torch.__version__, "aten": capability, "gemm2048_gflops_per_s": round(peak, 1), **vars(args)}

def bench(args):
    report = {"machine": machine(args)}
    model, config = build(args)
    latent = (config["dit"]["in_channels"], *[config["dit"]["sample_size"]] * 2)
    prompts, empty = (torch.randint(config["llm"]["vocab_size"], size)
                      for size in ((args.prompts, args.tokens), (1, args.empty_tokens)))
    noise = torch.randn(args.prompts * args.images, *latent)
    report["condition"] = measure(lambda: model.condition(prompts[:1]), args.repeats, model)
    cond = model.condition(prompts[:1])
    for batch in args.batches:
        inputs = (torch.randn(2 * batch, *latent).to(cond.dtype), torch.full((2 * batch,), 500),
                  cond.expand(2 * batch, -1, -1))
        context, name = model.dit.context(inputs[2]), f"denoise_step_batch{batch}"
        report[name] = measure(lambda: model.dit(*inputs), args.repeats, model)
        report[name + "_context_once"] = measure(lambda: model.dit(*inputs[:2], context=context), args.repeats, model)
    for batch in (1, 8):
        rows = torch.randn(batch, *latent)
        report[f"decode_batch{batch}"] = measure(lambda: model.decode(rows), args.repeats, model)
    padding, per_call, outputs = args.tokens - args.empty_tokens, max(1, args.batch // args.images), {}

    def bulk(mode):
        images = []
        uncond = None if mode == "reference" else model.condition(empty)
        for ids in prompts.split(per_call):
            if mode == "reference":  # as its sample_images: [empty] * P + prompts, all of them repeated for each image
                both = F.pad(empty, (padding, 0)).expand(len(ids), -1)
                both = torch.cat([both, ids]).repeat_interleave(args.images, 0)
                keep = torch.arange(args.tokens) >= padding * (torch.arange(len(both)) * 2 < len(both))[:, None]
                low, high = model.condition(both, keep).chunk(2)
            else:
                high = model.condition(ids).repeat_interleave(args.images, 0)
                low = uncond.expand(len(high), -1, -1)
            mark("condition")
            rows = noise[len(images) * per_call * args.images:][:len(high)]
            latents = model.denoise(rows, low, high, args.steps, reuse_context=mode == "cached_context")
            mark("denoise")
            images.append(model.decode(latents))
            mark("decode")
        outputs[mode] = torch.cat(images)
    for mode in ("reference", "cached", "cached_context"):
        result = report["bulk_" + mode] = measure(lambda: bulk(mode), args.bulk_repeats)
        result["images_per_s"] = round(len(noise) / result["min_ms"] * 1e3, 3)
        result["max_abs_difference"] = (outputs[mode] - outputs["reference"]).abs().max().item()
    return report

def train_bench(args):
    report = {"machine": machine(args)}
    model, config = build(args)
    nn.ModuleList([model.llm, model.vae]).requires_grad_(False)
    optimizer = torch.optim.AdamW([tensor for tensor in model.parameters() if tensor.requires_grad], lr=1e-4)
    report["trained_parameters"] = sum(tensor.numel() for tensor in optimizer.param_groups[0]["params"])
    ids = torch.randint(config["llm"]["vocab_size"], (args.batch, args.tokens))
    image = torch.randn(args.batch, 3, *[8 * config["dit"]["sample_size"]] * 2).to(model.queries.dtype)

    def step(prefix_without_grad):
        with torch.no_grad():
            clean = model.vae.encoder(image) * model.vae.config["scaling_factor"]
            mark("vae encode")
            past = model.llm(model.llm.embed_tokens(ids))[1] if prefix_without_grad else None
        if prefix_without_grad:  # causal: no gradient reaches the queries through the states of the prompt
            hidden, _ = model.llm(model.queries.expand(args.batch, -1, -1), past=past)
        else:
            hidden = model.hidden(ids)
        mark("llm forward")
        cond = model.connector(hidden)
        mark("connector forward")
        loss = model.flow_loss(clean, torch.randn_like(clean), torch.randint(1, 1001, (args.batch,)), cond)
        mark("dit forward")
        loss.backward()
        mark("backward")
        optimizer.step()
        optimizer.zero_grad(True)
        mark("adamw")
    report["step"] = measure(lambda: step(False), args.repeats)
    report["step_prefix_without_grad"] = measure(lambda: step(True), args.repeats)
    return report

def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("parity", "bench", "train-bench"))
    for name in ("llm", "connector", "dit", "vae"):
        parser.add_argument("--" + name, default="{}", help="shape overrides: JSON text or a JSON file")
    for name, value in dict(threads=1, seed=0, repeats=10, bulk_repeats=1, queries=16, tokens=45, empty_tokens=24,
                            prompts=8, images=4, steps=20, batch=32).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], help="images of a measured denoise step")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--file", default=os.path.join(os.path.dirname(__file__), "parity.safetensors"))
    parser.add_argument("--tolerance", type=float, default=2e-4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode(args.command == "bench"):
        report = {"parity": parity, "bench": bench, "train-bench": train_bench}[args.command](args)
    return report if args.command == "parity" else print(json.dumps(report, indent=1))

if __name__ == "__main__":
    sys.exit(main())
