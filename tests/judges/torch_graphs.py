"""CUDA graphs from PyTorch: capture, replay, several streams, memory pools, a graphed training step."""
import torch
from judge import median_time, part, run, took
from models import gpt


def seeded(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).cuda()


@part
def replay():
    a, b = seeded(256, 256), seeded(256, 256, seed=2)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        (a @ b).relu()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = (a @ b).relu().sum(0)
    found = []
    for seed in (3, 4, 5):
        a.copy_(seeded(256, 256, seed=seed))
        graph.replay()
        found.append(out.clone())
    took("replay_one", median_time(graph.replay, torch.cuda.synchronize, 20))
    return found


@part
def decode():
    """A GPT-2's step over a fixed prompt, as servers run it."""
    model = gpt(layers=4).eval().cuda().half()
    tokens = torch.arange(64).view(1, 64).cuda()
    with torch.no_grad():
        plain = model(tokens)[0][:, -1].clone()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = model(tokens)[0][:, -1]
        graph.replay()
        took("decode_step", median_time(graph.replay, torch.cuda.synchronize, 10))
    return {"graph": out.clone(), "as_without": bool(torch.equal(out, plain))}


@part
def random_in_graph():
    torch.cuda.manual_seed(9)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = torch.rand(1000, device="cuda")
    found = []
    for _ in range(3):
        graph.replay()
        found.append(out.clone())
    return found


@part
def branches():
    """Two streams fork and join inside one capture."""
    a = seeded(512, 512)
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.graph(graph):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            left = a.sin()
        right = a.cos()
        torch.cuda.current_stream().wait_stream(side)
        out = left + right
    graph.replay()
    return out.clone()


@part
def shared_pool():
    first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    a = seeded(100, 100)
    with torch.cuda.graph(first):
        b = a @ a
    with torch.cuda.graph(second, pool=first.pool()):
        c = b + 1
    first.replay()
    second.replay()
    found = c.clone()
    first.reset()
    second.reset()
    return found


@part
def callable():
    layer = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 8))
    torch.manual_seed(3)
    for weights in layer.parameters():
        torch.nn.init.normal_(weights)
    layer.cuda()
    graphed = torch.cuda.make_graphed_callables(layer, (seeded(32, 64),))
    x = seeded(32, 64, seed=8)
    loss = graphed(x).square().sum()
    loss.backward()
    return {"loss": loss, "gradient": layer[0].weight.grad.clone()}


@part
def training_step():
    model = torch.nn.Linear(256, 256).cuda()
    with torch.no_grad():
        model.weight.copy_(seeded(256, 256) / 16)
        model.bias.zero_()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=True)
    x, y = seeded(64, 256, seed=2), seeded(64, 256, seed=3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = step()
    losses = []
    for _ in range(5):
        graph.replay()
        losses.append(loss.clone())
    return {"losses": torch.stack(losses), "weights": model.weight.detach().clone()}


run()
