"""The programs of the dynamic neural morphogenesis seed run as they are written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.dnm import DNMFramework, MorphogenesisEvent
from structure_net.surgery import SplitNeurons

QUICK_START = """
import torch
import torch.nn as nn
from structure_net.dnm import DNMFramework

# 定义你的基础模型
class YourCNNModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(64 * 32 * 32, 10)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)

# 初始化模型和 DNM 框架
model = YourCNNModel()
dnm_config = {
    'morphogenesis_interval': 3,  # 每3个epoch检查一次
    'max_morphogenesis_per_epoch': 1,  # 每次最多1次形态发生
    'performance_improvement_threshold': 0.01,  # 性能改善阈值
}

dnm = DNMFramework(model, dnm_config)
"""

LOOP = """
# 在训练循环中使用
for epoch in range(epochs):
    # 训练代码...
    train_loss, train_acc = train_epoch(model, train_loader, optimizer, criterion)
    val_loss, val_acc = validate_epoch(model, val_loader, criterion)

    # 更新 DNM 缓存
    dnm.update_caches(activations, gradients, targets)
    dnm.record_performance(val_acc)

    # 检查是否需要形态发生
    should_trigger, reasons = dnm.should_trigger_morphogenesis(
        epoch+1,
        {'accuracy': train_acc, 'loss': train_loss},
        {'accuracy': val_acc, 'loss': val_loss}
    )

    if should_trigger:
        print(f"🧬 触发形态发生: {reasons}")
        results = dnm.execute_morphogenesis(epoch+1)
        if results['neuron_divisions'] > 0:
            print(f"✅ 神经元分裂完成: {results['neuron_divisions']} 次")
            model = dnm.model  # 更新模型引用
"""

ADVANCED = """
# 详细的 DNM 配置
dnm_config = {
    # 触发控制
    'morphogenesis_interval': 3,
    'max_morphogenesis_per_epoch': 1,
    'performance_improvement_threshold': 0.01,

    # 分裂策略
    'neuron_division_strategy': 'hybrid',  # 'gradient_based', 'activation_based', 'hybrid'
    'division_noise_scale': 0.1,
    'progressive_activation_epochs': 5,

    # 瓶颈检测
    'bottleneck_detection_metrics': [
        'gradient_variance',
        'activation_diversity',
        'information_flow',
        'performance_sensitivity'
    ],

    # 安全机制
    'rollback_enabled': True,
    'performance_drop_threshold': 0.05,
    'max_architecture_changes': 10,
}

dnm = DNMFramework(model, dnm_config)
"""


def of_the_user(space: dict[str, Any]) -> None:
    """What the seed leaves to the user: data, optimizer, and a loop's two functions.

    Activations come from the user's own forward hooks, gradients are those of the parameters.
    """
    model: nn.Module = space["model"]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 3, 32, 32, generator=generator)
    targets = torch.arange(12) % 10
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.__setitem__(name, output.detach())
        )

    def train_epoch(model: nn.Module, loader: Any, optimizer: Any, criterion: Any) -> Any:
        model.train()
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        space["activations"] = dict(seen)
        space["gradients"] = {name: p.grad for name, p in model.named_parameters()}
        return loss.item(), 0.5

    space.update(
        targets=targets,
        epochs=7,
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9),
        criterion=nn.CrossEntropyLoss(),
        train_loader=None,
        val_loader=None,
        train_epoch=train_epoch,
        validate_epoch=lambda model, loader, criterion: (1.0, 0.5),
    )


@pytest.fixture
def space() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(QUICK_START, found)
    of_the_user(found)
    return found


def test_the_quick_start_divides_neurons_and_trains_on(
    space: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model, optimizer = space["model"], space["optimizer"]
    exec(LOOP, space)
    said = capsys.readouterr().out
    assert said.count("触发形态发生") == said.count("神经元分裂完成: 1 次") == 2
    dnm: DNMFramework = space["dnm"]
    assert space["model"] is model is dnm.model
    assert [event.epoch for event in dnm.events] == [3, 6]
    assert all(isinstance(event.edit, SplitNeurons) for event in dnm.events)
    widths = model.features[0].out_channels, model.features[2].out_channels
    assert sum(widths) > 32 + 64
    assert model.classifier.in_features == widths[1] * 32 * 32
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    for parameter in model.parameters():
        assert optimizer.state[parameter]["momentum_buffer"].shape == parameter.shape


@pytest.mark.parametrize("strategy", ["gradient_based", "activation_based", "hybrid"])
def test_the_advanced_configuration_works_with_every_strategy(
    space: dict[str, Any], strategy: str
) -> None:
    exec(ADVANCED.replace("'hybrid',", f"'{strategy}',"), space)
    space["epochs"] = 4
    exec(LOOP, space)
    (event,) = space["dnm"].events
    assert isinstance(event, MorphogenesisEvent)
    assert event.performance_after == 0.5
