"""The network benchmark runs end to end; no time is asserted."""

from tests.benchmark import networks as benchmark_networks


def test_every_network_is_timed(monkeypatch, capsys):
    chosen = ("built-in", "tokens of stride 8")
    every = benchmark_networks.networks()
    few = {name: every[name] for name in chosen}
    monkeypatch.setattr(benchmark_networks, "networks", lambda: few)
    benchmark_networks.main(["--repeats", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(chosen)
    assert all(line.endswith(" ms") and " M parameters, " in line for line in lines), lines
