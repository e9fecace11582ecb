#!/usr/bin/env python3
"""The peer as a worker: reads one JSON command a line, runs it, answers with one JSON line. Used by MetaQuery.Benchmarks.

  serve.py --model FOLDER [--dtype bfloat16] [--threads 1]
  {"do": "condition", "prompts": [[ids], ..], "repeats": 3}   -> {"seconds": [..], "gflop": of linear and convolution layers}
  serve.py --model FOLDER --check FOLDER     compares with the golden values of a case of kind "nano", and ends
"""
import argparse
import json
import os
import sys
import time

import torch
from torch.nn import functional as F

import metaquery_torch as mq
import nano


class Worker:
    def __init__(self, args):
        self.model, self.config, self.shift = nano.load(args.model, getattr(torch, args.dtype))
        self.dtype = getattr(torch, args.dtype)
        dit = self.config["dit"]
        self.latent = (dit["in_channels"], dit["sample_size"], dit["sample_size"])

    @staticmethod
    def padded(rows):
        """-> ids, and where they are real; None where all are."""
        length = max(map(len, rows))
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
        if all(len(row) == length for row in rows):
            return ids, None
        return ids, torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in rows])

    def pictures(self, latents):
        """Latents to bytes, height by width by channel."""
        return (self.model.decode(latents) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def gemm(self, size, dtype="float32", **_):
        a, b = torch.randn(2, size, size).to(getattr(torch, dtype))
        return lambda: a @ b

    def condition(self, prompts, **_):
        """Token ids of each prompt; shorter ones are padded on the left, as the reference does."""
        ids, keep = self.padded(prompts)
        return lambda: self.model.condition(ids, keep)

    def step(self, batch, context_once=True, **_):
        """One step with guidance: 2 rows per image."""
        cond = torch.randn(2 * batch, self.config["queries"], self.config["dit"]["caption_channels"]).to(self.dtype)
        latents, timestep = torch.randn(2 * batch, *self.latent).to(self.dtype), torch.full((2 * batch,), 500)
        if not context_once:
            return lambda: self.model.dit(latents, timestep, cond)
        context = self.model.dit.context(cond)
        return lambda: self.model.dit(latents, timestep, context=context)

    def decode(self, batch, **_):
        rows = torch.randn(batch, *self.latent) * 0.5
        return lambda: self.pictures(rows)

    def bulk(self, mode, prompts, empty, images, steps, batch, guidance, **_):
        """mode: reference (every image encodes its prompt and the empty one), cached (once), cached_context (keys and values too)."""
        noise = torch.randn(len(prompts) * images, *self.latent)
        per_call = max(1, batch // images)

        def run():
            low_once = None if mode == "reference" else self.model.condition(torch.tensor([empty]))
            for first in range(0, len(prompts), per_call):
                part = prompts[first:first + per_call]
                if mode == "reference":
                    rows = [row for row in [empty] * len(part) + part for _ in range(images)]
                    low, high = self.model.condition(*self.padded(rows)).chunk(2)
                else:
                    high = self.model.condition(*self.padded(part)).repeat_interleave(images, 0)
                    low = low_once.expand(len(high), -1, -1)
                rows = noise[first * images:][:len(high)]
                latents = self.model.denoise(rows, low, high, steps, guidance, mode == "cached_context", self.shift)
                self.pictures(latents)
        return run

    def answer(self, command):
        if command["do"] not in ("gemm", "condition", "step", "decode", "bulk"):
            raise ValueError(f"unknown command {command['do']}")
        run, reply = getattr(self, command["do"])(**command), {}
        if command.get("count"):  # a run that counts the work of linear and convolution layers, and warms up
            reply["gflop"] = mq.measure(run, 1, self.model)["gflop"]
        seconds = []
        for _ in range(command["repeats"]):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return {**reply, "seconds": seconds}


def check(worker, folder):
    """The largest error as a share of the case's tolerance, per quantity."""
    case, (want, _) = json.load(open(os.path.join(folder, "case.json"))), mq.load_safetensors(os.path.join(folder, "expected.safetensors"))
    model, worst = worker.model, 0.0
    begin = worker.config["llm"]["vocab_size"] - worker.config["queries"] - 2

    def compare(name, got, expected):
        nonlocal worst
        tolerance = case["tolerance"][name]
        share = ((got - expected).abs() / (tolerance["atol"] + tolerance["rtol"] * expected.abs())).max().item()
        worst = max(worst, share)
        print(f"{name}: {share:.4f} of the tolerance")
    conditions = []
    for entry in case["prompts"]:
        ids = want[f"{entry['index']}.input_ids"]
        ids = ids[:ids.tolist().index(begin) + 1][None]  # the queries follow <begin_of_img>; nothing after them reaches them
        compare("hidden", model.hidden(ids), want[f"{entry['index']}.hidden"])
        conditions.append(model.condition(ids))
        compare("condition", conditions[-1], want[f"{entry['index']}.condition"])
    high, low = torch.cat(conditions[:-1]), conditions[-1].expand(len(conditions) - 1, -1, -1)
    latents = model.denoise(want["latents.0"], low, high, case["steps"], case["guidance_scale"], True, worker.shift)
    compare("latents", latents, want[f"latents.{case['steps']}"])
    compare("decoded", model.vae.decoder(latents / model.vae.config["scaling_factor"]), want["decoded"])
    return 0 if worst <= 1 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", metavar="FOLDER")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        worker = Worker(args)
        if args.check:
            return check(worker, args.check)
        capability = torch.__config__.show().split("CPU capability usage:")[1].split()[0]
        print(json.dumps({"torch": torch.__version__, "aten": capability, "threads": torch.get_num_threads()}), flush=True)
        for line in sys.stdin:
            try:
                reply = worker.answer(json.loads(line))
            except Exception as error:  # one bad command ends neither the worker nor the benchmark's other figures
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
