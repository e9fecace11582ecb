"""Loads a Nano model folder (config.json, mllm/*.gguf, metaquery.safetensors, transformer/, vae/) into the peer."""
import glob
import json
import mmap
import os
import struct

import metaquery_torch as mq
import torch

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


class Gguf:
    """F32, Q4_1 and Q8_0 tensors as float32, the q and k rows in Hugging Face's order; GGUF version 3."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.at = 0
        self.take("I"), self.take("I")
        count, pairs = self.take("Q"), self.take("Q")
        self.metadata = {}
        for _ in range(pairs):
            key = self.text()
            self.metadata[key] = self.value(self.take("I"))
        infos = [(self.text(), [self.take("Q") for _ in range(self.take("I"))], self.take("I"), self.take("Q"))
                 for _ in range(count)]
        start = -(-self.at // 32) * 32
        self.tensors = {name: self.tensor(name, dims[::-1], kind, start + offset) for name, dims, kind, offset in infos}

    def take(self, kind):
        (value,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.take("I"), self.take("Q")
            return [self.value(inner) for _ in range(count)]
        return self.take("BbHhIif?__Qqd"[kind])

    def tensor(self, name, shape, kind, at):
        count = torch.Size(shape).numel()

        def rows(size):  # blocks of 32 values
            return torch.frombuffer(self.data, dtype=torch.uint8, count=count // 32 * size, offset=at).view(-1, size)

        def half(columns):
            return columns.contiguous().view(torch.float16).float()
        if kind == 0:
            values = torch.frombuffer(self.data, dtype=torch.float32, count=count, offset=at).clone()
        elif kind == 3:  # scale, minimum, 32 values of 4 bits: low halves first
            block = rows(20)
            codes = torch.cat([block[:, 4:] & 15, block[:, 4:] >> 4], 1).float()
            values = codes * half(block[:, :2]) + half(block[:, 2:4])
        elif kind == 8:  # scale, 32 signed bytes
            block = rows(34)
            values = block[:, 2:].contiguous().view(torch.int8).float() * half(block[:, :2])
        else:
            raise ValueError(f"{name}: tensor type {kind} is not read here")
        values = values.view(shape)
        heads = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
        key = heads.get(name.split(".")[-2])
        if key:
            values = values.view(self.metadata[key], -1, 2, shape[1]).transpose(1, 2).reshape(shape)
        return values


def folder(name):
    return json.load(open(os.path.join(name, "config.json")))


def weights(path):
    return {name: tensor.float() for name, tensor in mq.load_safetensors(path)[0].items()}


def load(path, dtype=torch.float32, channels_last=True):
    """-> (model in evaluation mode, its configurations, flow shift)"""
    top, gguf = folder(path), Gguf(glob.glob(os.path.join(path, "mllm", "*.gguf"))[0])
    meta, table = gguf.metadata, gguf.tensors["token_embd.weight"]
    new = weights(os.path.join(path, "metaquery.safetensors"))
    rows = new["model.mllm_backbone.model.embed_tokens.new_rows"]
    config = {
        "llm": {"vocab_size": len(table) + len(rows), "hidden_size": meta["llama.embedding_length"],
                "intermediate_size": meta["llama.feed_forward_length"], "num_hidden_layers": meta["llama.block_count"],
                "num_attention_heads": meta["llama.attention.head_count"],
                "num_key_value_heads": meta["llama.attention.head_count_kv"],
                "rms_norm_eps": meta["llama.attention.layer_norm_rms_epsilon"], "rope_theta": meta["llama.rope.freq_base"]},
        "connector": {"hidden_size": top["connector_hidden_size"], "intermediate_size": top["connector_intermediate_size"],
                      "num_attention_heads": top["connector_num_attention_heads"],
                      "num_hidden_layers": top["connector_num_hidden_layers"], "rms_norm_eps": 1e-6, "rope_theta": 1e4,
                      "out_dim": top["condition_channels"]},
        "dit": folder(os.path.join(path, "transformer")), "vae": folder(os.path.join(path, "vae")),
        "queries": top["num_metaqueries"]}
    model = mq.MetaQuery(config)
    model.llm.load_state_dict({
        "embed_tokens.weight": torch.cat([table, rows]), "norm.weight": gguf.tensors["output_norm.weight"],
        **{f"layers.{name.split('.')[1]}.{NAMES[name.split('.')[2]]}.weight": tensor
           for name, tensor in gguf.tensors.items() if name.startswith("blk.")}})
    prefix = "model.connector."
    model.connector.load_state_dict({name[len(prefix):]: tensor for name, tensor in new.items() if name.startswith(prefix)})
    for part, module in (("transformer", model.dit), ("vae", model.vae)):
        module.load_state_dict(weights(os.path.join(path, part, "diffusion_pytorch_model.safetensors")))
    with torch.no_grad():
        model.queries.copy_(rows[2:])  # after <begin_of_img> and <end_of_img>
    layout = torch.channels_last if channels_last else torch.preserve_format
    with open(os.path.join(path, "scheduler", "scheduler_config.json")) as file:
        shift = json.load(file)["flow_shift"]
    return model.eval().to(dtype, memory_format=layout), config, shift
