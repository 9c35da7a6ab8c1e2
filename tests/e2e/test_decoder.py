"""The daemon with the real worker and a decoder that does what an attacker's code in it would: each
costs the request with that picture, and nothing else."""
import base64
import json
import os
import re
import shutil
import signal
import tempfile

from cn_e2e import DATA, ENGINE, Aside, Case, Daemon, main, sanitized

MODELS = os.path.join(DATA, "models")
SIZE = {"prompt": "a red apple", "width": 40, "height": 48, "steps": 3, "seed": 11, "model": "tiny"}
EDGES = open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb").read()


def control(image, **more):
    return dict(SIZE, controls=[{"model": "tiny-control-a",
                                 "image": base64.b64encode(image).decode()}], **more)


class Decoder(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="cn-decoder-")
        self.addCleanup(shutil.rmtree, self.dir)

    def daemon(self, decoder, **more):
        """With a worker beside which that decoder stands."""
        worker = os.path.join(self.dir, "controlnet-worker")
        shutil.copy(ENGINE, worker)
        shutil.copy(decoder, os.path.join(self.dir, "controlnet-decoder"))
        return Daemon("--models", MODELS, worker=worker, **more)

    def decoders(self, d):
        """Of the worker's children; whichever threads have started them."""
        tasks = "/proc/%d/task" % d.worker_pid()
        pids = []
        for task in os.listdir(tasks):
            try:
                with open("%s/%s/children" % (tasks, task)) as f:
                    pids += map(int, f.read().split())
            except (FileNotFoundError, ProcessLookupError):
                pass  # a thread that has just ended
        return pids

    def spare_decoder(self, d):
        """What has read is gone, and the one for the next picture is there."""
        r = d.images(control(b"remember"))
        detail = self.problem(r, 422, "validation", "/controls/0/image")["errors"][0]["detail"]
        used = int(re.search(r"0 seen before by ([0-9]+)", detail).group(1))
        d.until(lambda: len(self.decoders(d)) == 1 and self.decoders(d) != [used])
        return self.decoders(d)[0]

    def test_what_a_picture_does_to_its_decoder_costs_one_request(self):
        with self.daemon("tests/decoding/bad-decoder") as d:
            worker = d.worker_pid()
            good = d.images(control(EDGES)).body
            steps = d.metric("controlnetd_batch_images_count")
            long = Aside(lambda: d.images(dict(SIZE, steps=60, n=8), "application/json"))
            d.until(lambda: d.metric("controlnetd_batch_images_count") > steps)
            for deed, text in ((b"crash", "signal 11"), (b"abort", "signal 6"),
                               (b"open", "signal 31"), (b"socket", "signal 31"),
                               (b"answer-size", "makes no sense")):
                r = d.images(control(deed))
                doc = self.problem(r, 422, "validation", "/controls/0/image")
                self.assertIn(text, doc["errors"][0]["detail"])
                self.assertEqual(d.images(control(EDGES)).body, good)
            if not sanitized():
                self.problem(d.images(control(b"memory")), 507, "insufficient-memory")
            r = d.images(dict(SIZE, init_image=base64.b64encode(b"crash").decode()))
            self.problem(r, 422, "validation", "/init_image")
            self.assertEqual(d.images(control(EDGES)).body, good)
            r = long.result()
            self.assertEqual((r.status, len(json.loads(r.body)["images"])), (200, 8))
            self.assertEqual(d.worker_pid(), worker)
            self.assertEqual(len(d.events("worker.decoder_lost")), 6)
            self.assertEqual(len(d.events("worker.down")), 0)
            lost = b'controlnetd_worker_report{worker="0",name="decoders_lost"} 6\n'
            d.until(lambda: lost in d.get("/metrics").body)

    def test_a_decoder_that_is_killed_fails_no_picture(self):
        with self.daemon("tests/decoding/bad-decoder") as d:
            good = d.images(control(EDGES)).body
            if not os.path.exists("/proc/self/task/%d/children" % os.getpid()):
                self.skipTest("this kernel does not name the children of a process")
            for _ in range(3):
                os.kill(self.spare_decoder(d), signal.SIGKILL)
                self.assertEqual(d.images(control(EDGES)).body, good)
            self.assertEqual(len(d.events("worker.decoder_lost")), 3)
            self.assertIn("seccomp", d.events("worker.decoder")[0]["layers"])

    def test_a_decoder_that_does_not_start_is_told(self):
        with self.daemon("/bin/false", wait=False) as d:
            d.until(lambda: b"pictures cannot be decoded: the decoder of pictures ended at its start"
                    in d.get("/readyz?verbose").body, 20)


if __name__ == "__main__":
    main()
