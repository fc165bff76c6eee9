"""Files of demo-data are known to the last byte, so that nobody need say that they are made up or public."""

from __future__ import annotations

from sealora_client.demo_data.choice import DemoTask, are_demo_files, build_demo


def test_files_are_recognised_whole_and_under_their_names_alone(tmp_path):
    sites = [site.path for site in build_demo(tmp_path, DemoTask.SUPPORT)]
    assert are_demo_files(sites)
    assert not are_demo_files([])
    assert not are_demo_files([*sites[1:], tmp_path / "absent.jsonl"])
    sites[0].write_bytes(sites[0].read_bytes() + b'{"prompt": "Who is it?", "response": "Ours."}\n')
    assert not are_demo_files(sites)
    assert not are_demo_files([sites[1].rename(tmp_path / "other.jsonl")])
