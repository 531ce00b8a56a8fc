"""What the interop tests share: the demo, shrunk to seconds, and readers that follow docs/formats."""
import glob
import importlib
import os
import subprocess
import sys
import tempfile


def oracle(*names):
    """Imports the packages; where one is absent the test is skipped, and says which."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            print(f"skipped: the Python package '{name}' is not installed ({error}); see tests/interop/setup.sh")
            sys.exit(77)
    return modules if len(modules) > 1 else modules[0]


class Run:
    """A finished run of the shrunk demo in a folder that goes with it."""

    def __init__(self, *settings):
        self.refract, self.source = sys.argv[1:3]
        self._folder = tempfile.TemporaryDirectory(prefix="refract-interop.")
        self.run = os.path.join(self._folder.name, "run")
        self.data = os.path.join(self._folder.name, "data")
        every = [
            f"run={self.run}", f"data_root={self.data}",
            "source.from=file:configs/demo/shards/enwiki_namespace_0_0.jsonl.zst",
            "calibration.rows=4096", "calibration.max_tokens=4096", "heldout.rows=4096",
            "store.chunk_rows=8192", "store.block_rows=256",
            "train.tokens=16384", "train.batch_rows=1024", "train.passes_per_chunk=2",
            "saes.0.d_sae=256", "saes.0.k=8", "saes.1.d_sae=512", "saes.1.k=16",
            "probe.tokens=8192", "probe.examples=5", *settings]
        command = [self.refract, "run", "configs/demo.yaml", "--quiet"]
        for setting in every:
            command += ["--set", setting]
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        subprocess.run(command, cwd=self.source, env=environment, check=True)

    def model(self):
        return os.path.join(self.source, "configs/demo/model")

    def one(self, pattern):
        """The only file of the run or data folder that matches."""
        found = glob.glob(os.path.join(self._folder.name, pattern))
        assert len(found) == 1, f"{pattern}: {found}"
        return found[0]

    def chunks(self):
        return sorted(glob.glob(os.path.join(self.run, "*_activations", "chunk-*.h5")))


def strings(group, name):
    offsets, blob = group[name + "_offsets"][:], group[name + "_bytes"][:].tobytes()
    return [blob[a:b].decode() for a, b in zip(offsets[:-1], offsets[1:])]


def segments_of(contexts, context):
    """(slot, document, token_offset, length, bos) of each segment of one context."""
    first, end = contexts["segment_starts"][context:context + 2]
    return [tuple(int(contexts["segments"][key][i]) for key in
                  ("slot", "document", "token_offset", "length", "bos")) for i in range(first, end)]


def segment_ids(contexts, shard_ids, token_starts, segment):
    """The model's input for one segment."""
    _, document, offset, length, bos = segment
    first = int(token_starts[document]) + offset
    ids = [int(i) for i in shard_ids[first:first + length - bos]]
    return ([int(contexts.attrs["bos_id"])] if bos else []) + ids


def load_sae(folder):
    """With SAELens."""
    sae_lens = importlib.import_module("sae_lens")
    sae = sae_lens.SAE.load_from_disk(folder, device="cpu")
    return sae[0] if isinstance(sae, tuple) else sae


def heldout_rows(store, hook, hook_out):
    """Included rows of what is read and of what is reconstructed, of an open heldout.h5."""
    np = importlib.import_module("numpy")
    hooks = [hook, hook_out or hook]
    excluded = store["excluded"][:]
    for name in hooks:
        excluded = excluded | store[f"hooks/{name}/excluded"][:]
    found = []
    for name in hooks:
        rows = store[f"hooks/{name}/activations"][:]
        if rows.dtype.kind not in "f" or rows.dtype.itemsize == 2:  # bf16 is stored as its sixteen bits
            rows = (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        found.append(rows.astype(np.float32)[excluded == 0])
    return found


def agree(name, ours, theirs, gap, bound):
    """Activations [n, F] of n rows within `bound` of the row's largest. A row is left out only when its gap (how far its
    nearest value is from being selected otherwise) is smaller than that, at most 0.1 % of rows. The rows compared."""
    np = importlib.import_module("numpy")
    largest = np.maximum(np.abs(theirs).max(axis=1), 1e-30)
    worst = np.abs(ours - theirs).max(axis=1) / largest
    left_out = (worst > bound) & (gap / largest < bound)
    failed = (worst > bound) & ~left_out
    print(f"{name}: {len(ours)} rows, {int(left_out.sum())} left out for their gap, "
          f"worst {worst[~left_out].max():.2e} of the row's largest (bound {bound:.0e})")
    assert not failed.any(), f"{name}: {int(failed.sum())} rows differ, first {np.flatnonzero(failed)[:5]}"
    assert left_out.sum() <= 0.001 * len(ours), f"{name}: too many rows left out"
    assert (ours != 0).any(), f"{name}: nothing fires"
    return len(ours) - int(left_out.sum())
