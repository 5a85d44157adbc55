"""The lecture on neural collaborative filtering, corrected: BPR-MF, GMF, MLP and NeuMF, to be read from top to bottom.

    python examples/lecture.py

It needs MovieLens latest-small, which is downloaded, or found in the folder that NEUCF_DATA names, and under a minute.
docs/lecture.md lists what changed against the lecture, and why.
"""

import time

import numpy as np

from neucf import MODELS, evaluate, read_dataset, recommend, split
from neucf.evaluation.statistics import compare, holm

start = time.perf_counter()

# ---------------------------------------------------------------------------------------------------------------------
# 1. Data: who liked what. A rating of 4 or more is a positive; every film of movies.csv can be recommended.
# ---------------------------------------------------------------------------------------------------------------------
data = read_dataset("ml-latest-small", min_rating=4)
parts = split(data, "random:0.8/0.1/0.1", seed=1)  # the lecture's own split, row for row
train, valid, test = parts.train, parts.valid, parts.test
titles = data.items["title"]

print(f"{len(data.interactions):,} positives of {data.report.rows:,} ratings")
print(f"{train.num_users:,} users, {train.num_items:,} films")
print(f"{len(train):,} to train on, {len(valid):,} to choose by, {len(test):,} to judge by, once")

# ---------------------------------------------------------------------------------------------------------------------
# 2. BPR-MF: a vector for each user and film; score(u, i) = <p_u, q_i>. For each positive (u, i) a film j that is no
#    positive of u is drawn, and -log sigmoid(score(u, i) - score(u, j)) is made small, with an L2 penalty on the three
#    vectors. After every tenth epoch validation is ranked, and the best epoch's vectors are kept.
# ---------------------------------------------------------------------------------------------------------------------
bpr = MODELS["bpr-mf"](dim=64, epochs=60).fit(train, valid, seed=0)
print(f"\nBPR-MF: best on validation after epoch {bpr.best_epoch} of {bpr.config.epochs}")

# ---------------------------------------------------------------------------------------------------------------------
# 3. Metrics, first by hand for one user. Of K films shown, `hits` were liked; n were liked in all.
#    Recall = hits / n; precision = hits / K. DCG adds 1 / log2(rank + 1) for each hit; nDCG = DCG / IDCG, where IDCG is
#    the DCG of a perfect list: its first min(K, n) ranks are hits.
# ---------------------------------------------------------------------------------------------------------------------
K, USER = 20, 30
index = train.user_ids.index(USER)
liked = {train.item_ids[item] for item in valid.items[valid.users == index]}
shown = [item.item_id for item in recommend(bpr, [USER], k=K)[0].items]

is_hit = np.array([film in liked for film in shown])
discount = 1 / np.log2(np.arange(1, K + 1) + 1)
recall, precision = is_hit.sum() / len(liked), is_hit.sum() / K
ndcg = (is_hit * discount).sum() / discount[: min(K, len(liked))].sum()
print(f"\nUser {USER} liked {len(liked)} films of the validation part; {is_hit.sum()} of them are among the first {K}:")
print(f"recall@{K} {recall:.3f}, precision@{K} {precision:.3f}, nDCG@{K} {ndcg:.3f}")

# The same for everyone. The catalogue is ranked without the train positives, by tiles that never hold users x films.
judged = evaluate(bpr, parts, on="valid", ks=(K,))
print(f"all {judged.num_users} users: " + ", ".join(f"{name} {judged.mean(name):.3f}" for name in judged.values))
for name, by_hand in {"recall": recall, "precision": precision, "ndcg": ndcg}.items():
    assert np.isclose(judged.values[f"{name}@{K}"][judged.users == index], by_hand)

# ---------------------------------------------------------------------------------------------------------------------
# 4. Recommendations: what a user rated highest (by the ratings, not by the model), then films new to the user.
# ---------------------------------------------------------------------------------------------------------------------
own = train.take(train.users == index)
print(f"\nUser {USER} rated highest")
for row in np.argsort(-own.ratings, kind="stable")[:5]:
    print(f"  {own.ratings[row]:.1f}  {titles[int(own.items[row])]}")
print("BPR-MF suggests")
for item in recommend(bpr, [USER], k=5)[0].items:
    print(f"  {item.score:.2f}  {titles[train.item_ids.index(item.item_id)]}")

# ---------------------------------------------------------------------------------------------------------------------
# 5. GMF, MLP, NeuMF: the probability that u likes i, learnt from each positive and a few films drawn anew every epoch.
#    GMF:   logit = h . (p_u * q_i)
#    MLP:   logit = h . tower([p_u; q_i])
#    NeuMF: logit = h . [p_u * q_i; tower([p'_u; q'_i])], with vectors of its own for each half
# ---------------------------------------------------------------------------------------------------------------------
DIM, TOWER = 64, (64, 32, 16)
logistic = {"loss": "bce", "eval_every": 3, "reg_mlp": 0.03, "reg_weights": 1e-4, "init_std": 0.1}
gmf = MODELS["gmf"](dim=DIM, loss="bce", negatives=8, lr=0.008, reg=0.01, epochs=20).fit(train, valid, seed=0)
mlp = MODELS["mlp"](tower=TOWER, eval_every=3).fit(train, valid, seed=0)
neumf = MODELS["neumf"](dim=DIM, tower=TOWER, **logistic, negatives=6, lr=0.004, reg=0.004, epochs=14)
neumf.fit(train, valid, seed=0)

# The paper's pretraining: NeuMF starts from both trained halves, joined with equal weight, and goes on by plain SGD.
joined = MODELS["neumf"](dim=DIM, tower=TOWER, **logistic, optimizer="sgd", lr=0.01, epochs=3)
joined.halves = (gmf, mlp)
joined.fit(train, valid, seed=0)

models = {"popularity": MODELS["popularity"]().fit(train), "BPR-MF": bpr, "GMF": gmf, "MLP": mlp}
models |= {"NeuMF": neumf, "NeuMF, pretrained": joined}

# ---------------------------------------------------------------------------------------------------------------------
# 6. "Let's see if NeuMF outperforms GMF and MLP?" Everything was chosen on validation; now test is met, once.
#    Two means differ by chance as well. So models are compared user by user: the interval says where the mean
#    difference may lie for other users like these, and p how often chance alone would give one as large, corrected for
#    asking three times.
# ---------------------------------------------------------------------------------------------------------------------
METRIC = f"ndcg@{K}"
results = {name: evaluate(model, parts, on="test", ks=(K,)) for name, model in models.items()}
print(f"\nFull ranking of {train.num_items:,} films, test part, mean over {results['GMF'].num_users} users")
print(f"{'':18} nDCG@{K}  95 % interval    recall@{K}")
for name, found in results.items():
    low, high = found.interval(METRIC)
    print(f"{name:18} {found.mean(METRIC):7.4f}  {low:.4f} to {high:.4f} {found.mean(f'recall@{K}'):10.4f}")

others = ("GMF", "MLP", "BPR-MF")
for name in ("NeuMF", "NeuMF, pretrained"):
    ours = results[name].values[METRIC]
    compared = [compare(ours, results[other].values[METRIC], METRIC) for other in others]
    corrected = holm([found.p_value for found in compared])
    print(f"\nDoes {name} outperform")
    for other, found, p_value in zip(others, compared, corrected, strict=True):
        low, high = found.interval
        answer = "no evidence either way" if p_value >= 0.05 else "yes" if found.difference > 0 else "no, it is worse"
        print(f"  {other + '?':8} {answer:23} {found.difference:+.4f} ({low:+.4f} to {high:+.4f}), p = {p_value:.4f}")

print("\nOne split and one seed: the intervals know other users, not other splits or seeds.")
print("`neucf run lecture --seeds 5` trains anew with other seeds; docs/results.md has what came of it.")
print(f"{time.perf_counter() - start:.0f} seconds")
