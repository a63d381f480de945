"""What every network must do; a test class inherits `NetworkTester` and says how to build one."""

import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F


class NetworkTester:
    """What every network must do. A subclass says how to build one.

    Attributes:
        side: pixels of the images that it is made to learn by heart.
        grain: how many pixels wide the structures in them are; more than the network's own coarseness.
        rate: learning rate.
    """

    side = 32
    grain = 5
    rate = 1e-3

    def build(self, in_channels: int, num_classes: int) -> nn.Module:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _seeded(self) -> None:
        torch.manual_seed(0)

    @pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 2), (5, 4)])
    def test_logits_for_any_channels_and_an_odd_size(self, in_channels: int, num_classes: int) -> None:
        network = self.build(in_channels, num_classes).eval()
        with torch.no_grad():
            logits = network(torch.randn(1, in_channels, 61, 99))
        assert logits.shape == (1, 1 if num_classes == 2 else num_classes, 61, 99)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        assert logits.std() > 0

    def test_batching_changes_nothing_in_eval(self) -> None:
        network = self.build(3, 4).eval()
        images = torch.randn(3, 3, 45, 70)
        with torch.no_grad():
            together = network(images)
            alone = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(together, alone, atol=5e-5, rtol=1e-4)

    def test_channels_last_changes_nothing(self) -> None:
        network = self.build(3, 2).eval()
        images = torch.randn(2, 3, 40, 72)
        with torch.no_grad():
            wanted = network(images)
            network = network.to(memory_format=torch.channels_last)
            given = network(images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(given, wanted, atol=1e-5, rtol=1e-4)

    def test_backward_reaches_every_parameter(self) -> None:
        network = self.build(3, 4)
        network(torch.randn(2, 3, 64, 64)).square().mean().backward()
        trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
        assert len(trainable) > 10
        for name, parameter in trainable.items():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if parameter.ndim > 1:  # a bias before a normalisation has none, rightly
                assert parameter.grad.any(), name

    def test_trains_on_one_image_at_a_time(self) -> None:
        network = self.build(3, 4).train()
        logits = network(torch.randn(1, 3, 64, 70))
        assert logits.shape == (1, 4, 64, 70)
        logits.square().mean().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)

    def test_overfits_one_batch(self) -> None:
        images = torch.randn(2, 1, self.side, self.side)
        # something to be seen in the image
        target = F.avg_pool2d(images, self.grain, stride=1, padding=self.grain // 2) > 0
        network = self.build(1, 2)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.rate, fused=True)
        losses: list[float] = []
        while not losses or losses[-1] > 0.3:  # 0.69 is a guess
            assert len(losses) < 50, losses
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(network(images), target.float())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    def test_state_dict_round_trip(self) -> None:
        network, other = self.build(3, 2).eval(), self.build(3, 2).eval()
        images = torch.randn(1, 3, 32, 32)
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        with torch.no_grad():
            assert not torch.equal(network(images), other(images))
            other.load_state_dict(torch.load(file, weights_only=True))
            assert torch.equal(network(images), other(images))

    def test_bfloat16_is_close_to_float32(self) -> None:
        network = self.build(3, 2).eval()
        images = torch.randn(1, 3, 32, 64)  # bfloat16 is slow on a CPU
        with torch.no_grad():
            exact = network(images)
            with torch.autocast("cpu", torch.bfloat16):
                rounded = network(images)
        assert rounded.dtype == torch.bfloat16
        assert (rounded.float() - exact).norm() < 0.05 * exact.norm()

    def test_a_seed_fixes_the_network(self) -> None:
        images = torch.randn(2, 3, 32, 32)
        torch.manual_seed(7)
        one = self.build(3, 2)
        first = one(images)  # in training, dropout included
        torch.manual_seed(7)
        other = self.build(3, 2)
        assert torch.equal(first, other(images))
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key


class ExportedTester(NetworkTester):
    """For networks of which it is claimed that `torch.export` takes them."""

    def test_exports(self) -> None:
        network = self.build(3, 2).eval()
        images = torch.randn(1, 3, 50, 70)
        with torch.no_grad():
            exported = torch.export.export(network, (images,)).module()
            torch.testing.assert_close(exported(images), network(images), atol=1e-5, rtol=1e-4)
