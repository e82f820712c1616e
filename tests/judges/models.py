"""Two models in plain PyTorch, with weights from a seed, for judges and for tests/bench: ResNet50 and a GPT-2 of 124 million parameters."""
import torch
from judge import DEVICE
from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, inside, planes, stride):
        super().__init__()
        out = planes * 4
        self.way = nn.Sequential(
            nn.Conv2d(inside, planes, 1, bias=False), nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        same = stride == 1 and inside == out
        self.past = nn.Identity() if same else nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return nn.functional.relu(self.way(x) + self.past(x), inplace=True)


def resnet50(seed=1):
    torch.manual_seed(seed)
    with torch.device(DEVICE):
        return nn.Sequential(*resnet50_layers())


def resnet50_layers():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for planes, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inside, planes, stride if block == 0 else 1))
            inside = planes * 4
    return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]


class Block(nn.Module):
    """Attention and a layer of neurons; keeps keys and values of the tokens before."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.neurons = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x, past=None):
        batch, tokens, width = x.shape
        parts = self.mix(self.before(x)).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        if past is not None:
            key, value = torch.cat((past[0], key), 2), torch.cat((past[1], value), 2)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=past is None and tokens > 1)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.neurons(self.after(x)), (key, value)


class Gpt(nn.Module):
    def __init__(self, words=50257, length=1024, width=768, layers=12, heads=12):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last = nn.LayerNorm(width)

    def forward(self, tokens, past=None):
        begin = 0 if past is None else past[0][0].shape[2]
        x = self.words(tokens) + self.places(torch.arange(begin, begin + tokens.shape[1], device=tokens.device))
        kept = []
        for number, block in enumerate(self.blocks):
            x, both = block(x, None if past is None else past[number])
            kept.append(both)
        return self.last(x) @ self.words.weight.t(), kept

    @torch.no_grad()
    def generate(self, tokens, count):
        """Greedy: each next token is the likeliest."""
        logits, past = self(tokens)
        for _ in range(count):
            following = logits[:, -1:].argmax(-1)
            tokens = torch.cat((tokens, following), 1)
            logits, past = self(following, past)
        return tokens


def gpt(seed=1, **sizes):
    torch.manual_seed(seed)
    with torch.device(DEVICE):
        model = Gpt(**sizes)
    for name, weights in model.named_parameters():
        if weights.dim() > 1:
            nn.init.normal_(weights, std=0.02 if "words" not in name else 0.05)
    return model
