"""The cosine between embeddings of restored and true pictures."""

import torch

from deocclude.metrics.identity import CosineSimilarity


def pictures(count=4, seed=0):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def means(images):
    return images.mean((2, 3)) - 0.5


def test_equal_pictures_have_similarity_one_and_worse_ones_less():
    target = pictures()
    similarity = CosineSimilarity(lambda images: images.flatten(1))
    torch.testing.assert_close(similarity(target, target), torch.ones(4))
    noise = pictures(seed=1)
    near, far = similarity(0.9 * target + 0.1 * noise, target), similarity(noise, target)
    assert (near > far).all()
    assert (far < 1).all()


def test_opposite_embeddings_have_minus_one():
    target = pictures()
    torch.testing.assert_close(CosineSimilarity(means)(1 - target, target), -torch.ones(4))


def test_a_constant_picture_without_embedding_has_no_value():
    target = pictures()
    target[1] = 0.5
    found = CosineSimilarity(means)(target, target)
    assert found.isnan().tolist() == [False, True, False, False]


def test_batches_change_nothing_and_a_target_is_embedded_once():
    asked = []

    def embed(images):
        asked.append(len(images))
        return images.flatten(1)

    target, prediction, other = pictures(), pictures(seed=1), pictures(seed=2)
    similarity = CosineSimilarity(embed)
    both = [similarity(prediction, target), similarity(other, target)]
    assert asked == [4, 4, 4]
    one = torch.cat([similarity(p[None], t[None]) for p, t in zip(prediction, target, strict=True)])
    torch.testing.assert_close(both[0], one)
    assert not torch.equal(both[0], both[1])
    target = pictures(seed=3)  # another tensor, perhaps in the same place
    torch.testing.assert_close(similarity(target, target), torch.ones(4))
