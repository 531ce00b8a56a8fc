"""h5py opens every HDF5 file of a run, and finds in it what docs/formats says."""
import glob
import os

from common import Run, oracle, segment_ids, segments_of

h5py, np = oracle("h5py", "numpy")


def check_attributes(path, schema):
    with h5py.File(path) as file:
        name = file.attrs["schema"]
        name = name.decode() if isinstance(name, bytes) else name
        assert name == schema, f"{path}: schema {name}, expected {schema}"
        assert file.attrs["version"] == 2, path
        without = []
        file.visititems(lambda key, item: without.append(key)
                        if isinstance(item, h5py.Dataset) and "axes" not in item.attrs else None)
        assert not without, f"{path}: datasets without axes: {without}"


def main():
    run = Run()
    files = {
        "activation-chunk": run.chunks() + [run.one("run/*_activations/" + name) for name in ("heldout.h5", "evidence.h5")],
        "calibration": [run.one("run/*_activations/calibration.h5")],
        "token-shard": [run.one("data/tokens/*/*.h5")],
        "context-table": [run.one("data/tokens/*/contexts-*/enwiki*.h5")],
        "window-order": [run.one("data/tokens/*/contexts-*/window-*.h5")],
        "features": sorted(glob.glob(os.path.join(run.run, "features", "*.h5"))),
    }
    for schema, paths in files.items():
        assert paths, f"no file of schema {schema}"
        for path in paths:
            check_attributes(path, schema)

    # Each row's identity leads to the token it says, through the context table and the token shard.
    with h5py.File(files["context-table"][0]) as contexts, h5py.File(files["token-shard"][0]) as shard:
        ids, starts = shard["ids"][:], shard["documents/token_starts"][:]
        width, rows = int(contexts.attrs["context_length"]), 0
        for path in files["activation-chunk"]:
            with h5py.File(path) as chunk:
                columns = {name: chunk[name][:] for name in ("context", "position", "token", "document", "excluded")}
                assert len(columns["token"]) == chunk.attrs["rows"]
                (hook,) = chunk["hooks"]
                values = chunk["hooks"][hook]["activations"][:]
                assert values.shape == (len(columns["token"]), chunk["hooks"][hook].attrs["d_in"])
                assert np.isfinite(values).all() and np.abs(values).max() > 0
                for context in np.unique(columns["context"])[:20]:
                    slots = np.full(width, -1, dtype=np.int64)
                    owner = np.full(width, -1, dtype=np.int64)
                    for segment in segments_of(contexts, int(context) & 0xFFFFFFFF):
                        slots[segment[0]:segment[0] + segment[3]] = segment_ids(contexts, ids, starts, segment)
                        owner[segment[0]:segment[0] + segment[3]] = segment[1]
                    mine = (columns["context"] == context) & (columns["excluded"] & 2 == 0)
                    np.testing.assert_array_equal(columns["token"][mine], slots[columns["position"][mine]])
                    np.testing.assert_array_equal(columns["document"][mine] & 0xFFFFFFFF,
                                                  owner[columns["position"][mine]])
                    rows += int(mine.sum())
        assert rows > 1000
        # The window has every training context once, and chunk 0 is its first rows, each block permuted.
        with h5py.File(files["window-order"][0]) as window, h5py.File(run.chunks()[0]) as chunk:
            order, ends = window["contexts"][:], window["row_ends"][:]
            np.testing.assert_array_equal(np.sort(order), np.flatnonzero(contexts["heldout"][:] == 0))
            np.testing.assert_array_equal(np.diff(ends, prepend=0), width)  # rows.take: all
            n = int(chunk.attrs["block_rows"])
            for block in range(int(chunk.attrs["rows"]) // n):
                of_rows = np.searchsorted(ends, np.arange(block * n, (block + 1) * n), side="right")
                np.testing.assert_array_equal(np.sort(order[of_rows]), np.sort(chunk["context"][block * n:(block + 1) * n]))
    print(f"{sum(map(len, files.values()))} files follow their schemas; {rows} rows lead back to their tokens")


main()
