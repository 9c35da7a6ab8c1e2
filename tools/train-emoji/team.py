"""Data parallel training on the cores of one machine: one process of one
thread per core (no barrier inside the operators, which matters when the
machine is shared), gradients summed once per step."""
import os
import subprocess
import sys
import tempfile

import torch
import torch.distributed as dist


class Team:
    """Call at the top of main(): the first process starts the others as
    copies of its own command."""

    def __init__(self, size):
        self.size = size
        self.rank = int(os.environ.get("TEAM_RANK", 0))
        self.others = []
        torch.set_num_threads(1)
        if size == 1:
            return
        if self.rank == 0:
            self.store = tempfile.mktemp(prefix="team-")
            for r in range(1, size):
                env = dict(os.environ, TEAM_RANK=str(r), TEAM_STORE=self.store)
                self.others.append(subprocess.Popen([sys.executable] + sys.argv, env=env,
                                                    stdout=subprocess.DEVNULL))
        else:
            self.store = os.environ["TEAM_STORE"]
        from datetime import timedelta
        dist.init_process_group("gloo", init_method="file://" + self.store,
                                rank=self.rank, world_size=size,
                                timeout=timedelta(minutes=60))

    @property
    def first(self):
        return self.rank == 0

    def mean_grads(self, params, extra=()):
        """averages the gradients; returns the means of the extra numbers"""
        ps = [p for p in params if p.grad is not None]
        flat = torch.cat([p.grad.reshape(-1) for p in ps] + [torch.tensor(list(extra), device=ps[0].device)])
        if self.size > 1:
            dist.all_reduce(flat)
            flat /= self.size
        k = 0
        for p in ps:
            n = p.numel()
            p.grad = flat[k:k + n].view_as(p)
            k += n
        return flat[k:].tolist()

    def share(self, t):
        """sum of a tensor over the team, in place"""
        if self.size > 1:
            dist.all_reduce(t)
        return t

    def same_number(self, x):
        """the first process's"""
        return int(self.share(torch.tensor([float(x if self.first else 0)])).item())

    def progress(self, clock, step):
        """the first process's clock counts"""
        t = torch.tensor([clock.progress(step) if self.first else 0.0])
        return self.share(t).item()

    def same_start(self, modules):
        if self.size > 1:
            for m in modules:
                for p in list(m.parameters()) + list(m.buffers()):
                    dist.broadcast(p.data, 0)
