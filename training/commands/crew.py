"""How many processes train at a time on this machine, and with how many threads each."""


def crew(parallel: int | None, device: str) -> tuple[int, int]:
    """Processes, and threads of each.

    Args:
        parallel: processes as the user said; None for 8 on a GPU, which they share, else as processors and memory
            allow.
        device: `auto`, `cpu` or `cuda`.
    """
    import os

    from training.insilico.files.workers import affordable_workers

    if parallel is None:
        from inference.networks import device_of

        parallel = 8 if device_of(device).type == "cuda" else affordable_workers(each_gb=4.0)
    return parallel, max((os.cpu_count() or 1) // parallel, 1)
