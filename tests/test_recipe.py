"""Recipes: what they say of each training, and how they say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from neucf.errors import ConfigError
from neucf.experiment import load_recipe, recipe_names
from neucf.models import MODELS

RECIPE = """
[data]
source = "ml-latest-small"
min_rating = 4

[evaluation]
ks = [5, 10]
select = "ndcg@5"

[[models]]
label = "neumf-joined"
model = "neumf"
halves = ["gmf-small", "mlp"]
lr = 0.5

[[models]]
label = "gmf-small"
model = "gmf"
dim = 6

[[models]]
label = "mlp"
model = "mlp"
tower = [8, 4]
metric = "recall@10"

[[models]]
label = "popularity"
model = "popularity"

[published."Somebody 2001"]
metrics = { "recall@10" = 0.5 }
source = "A paper"
beside = "mlp"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


def test_the_recipe_chooses_epochs_for_every_model_that_does_not_choose_itself(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    settings = {label: loaded.settings(entry) for label, entry in loaded.by_label.items()}
    assert settings["gmf-small"] == {"metric": "ndcg@5", "metric_protocol": "full", "dim": 6}
    assert settings["mlp"] == {"metric": "recall@10", "metric_protocol": "full", "tower": [8, 4]}
    assert settings["popularity"] == {}


def test_a_neumf_takes_the_shapes_of_its_halves_and_comes_after_them(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    joined = loaded.by_label["neumf-joined"]
    config = loaded.plan(joined).config
    assert (config.dim, config.tower, config.lr) == (6, (8, 4), 0.5)
    assert [entry.label for entry in loaded.in_order] == ["gmf-small", "mlp", "popularity", "neumf-joined"]
    assert loaded.plan(joined, seed=3, out=Path("out")).halves == (Path("out/gmf-small-seed3"), Path("out/mlp-seed3"))


def test_a_recipe_is_named_by_its_file_and_defaults_are_those_of_train(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert loaded.name == "small"
    assert (loaded.data.split, loaded.data.split_seed, loaded.data.refit) == ("random:0.8/0.1/0.1", 1, None)
    assert loaded.evaluation.protocol == "full"
    assert loaded.published["Somebody 2001"].metrics == {"recall@10": 0.5}


def test_what_tuning_found_reaches_the_model_and_the_neumf_that_starts_from_it(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("dim = 6", "tune = { trials = 3, minutes = 1.5 }"))
    loaded = load_recipe(recipe)
    gmf, joined = loaded.by_label["gmf-small"], loaded.by_label["neumf-joined"]
    assert gmf.tune is not None
    assert str(gmf.tune.budget) == "3 trials or 1.5 minutes"
    assert "tune" not in loaded.settings(gmf)
    found = {"gmf-small": {"dim": 9, "lr": 0.25}}
    plan = loaded.plan(gmf, tuned=found)
    assert (plan.settings["dim"], plan.settings["lr"]) == (9, 0.25)
    assert loaded.plan(joined, tuned=found).settings["dim"] == 9
    assert loaded.plan(joined).settings["dim"] == 512


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('source = "ml-latest-small"', 'source = "ml-latest-smal"', "Did you mean 'ml-latest-small'?"),
        ('source = "ml-latest-small"', 'source = "/data/a.csv"', "`data.source` must be a named data set"),
        ('source = "ml-latest-small"', "", "`source` must be given in [data]; it is missing"),
        ("min_rating = 4", "min_ratin = 4", "`min_ratin` must be a key of [data]"),
        ("min_rating = 4", 'min_rating = "four"', "`min_rating` in [data]"),
        ("min_rating = 4", 'split = "random:0.9/0.2/0.1"', "must sum to 1"),
        ("min_rating = 4", 'split = "none"', "must hold out a test part"),
        ("min_rating = 4", 'split = "random:0.9/0.1/0"', "must hold out a test part"),
        ("min_rating = 4", 'split = "random:0.9/0/0.1"', "valid = 'random:0.1'"),
        ("min_rating = 4", 'valid = "newest"', "`valid` must be latest-item, last:SHARE or random:SHARE"),
        ("ks = [5, 10]", "ks = [0]", "`ks` in [evaluation]"),
        ("ks = [5, 10]", 'protocol = "exact"', "'full' or 'sampled'; got 'exact'"),
        ('select = "ndcg@5"', 'select = "ndcg@7"', "`evaluation.select` must be a metric of full at one of `ks`"),
        ('select = "ndcg@5"', 'selct = "ndcg@5"', "Did you mean 'select'?"),
        ("ks = [5, 10]", 'protocol = "sampled"\nks = [5]', "hit@k and ndcg@k alone, not metric=recall@10"),
        ('label = "gmf-small"', 'label = "small"', "must be the model's name, or begin with it and a dash"),
        ('label = "gmf-small"', 'label = "gmf/../x"', "`label` in [[models]] gmf/../x"),
        ('label = "gmf-small"', 'label = "mlp"', "`label` must be unique"),
        ('label = "gmf-small"\nmodel = "gmf"', 'label = "gmff"\nmodel = "gmff"', "Did you mean 'gmf'?"),
        ('model = "popularity"', "", "`model` must be given in [[models]] popularity"),
        ("dim = 6", "dmi = 6", "must be a setting of gmf; got 'dmi'. Did you mean 'dim'?"),
        ("dim = 6", "dim = 0", "`dim` of gmf"),
        ("dim = 6", 'halves = ["gmf-small", "mlp"]', "`halves` must be given to neumf only"),
        ('halves = ["gmf-small", "mlp"]', 'halves = ["gmf", "mlp"]', "Did you mean 'gmf-small'?"),
        ('halves = ["gmf-small", "mlp"]', 'halves = ["mlp", "gmf-small"]', "must name a gmf, then an mlp"),
        ('halves = ["gmf-small", "mlp"]', 'halves = ["mlp"]', "`halves` in [[models]] neumf-joined"),
        ("dim = 6", "tune = { trails = 3 }", "`trails` must be a key of [[models]] gmf-small, tune; got 'trails'."),
        ("dim = 6", "tune = { trails = 3 }", "Did you mean 'trials'?"),
        ("dim = 6", "tune = {}", "`trials` or `minutes` must say how much may be tried"),
        ("dim = 6", "tune = { trials = 0 }", "`trials` in [[models]] gmf-small, tune must be greater"),
        ("dim = 6", "tune = { minutes = 0 }", "`minutes` in [[models]] gmf-small, tune must be greater than 0; got 0."),
        ("dim = 6", "tune = 5", "`tune` in [[models]] gmf-small"),
        (
            "dim = 6",
            'tune = { trials = 3 }\n[[models]]\nlabel = "mf"\nmodel = "mf"\ntune = { trials = 3, minutes = 9 }',
            "one budget; gmf-small has 3 trials and mf has 3 trials or 9 minutes. Give them the same.",
        ),
        (
            'label = "popularity"\nmodel = "popularity"',
            'label = "popularity"\nmodel = "popularity"\ntune = { trials = 3 }',
            "`model` must have settings left to look for; got popularity with nothing given",
        ),
        ('beside = "mlp"', 'beside = "mlq"', "`published.Somebody 2001.beside` must be a label of this recipe"),
        ('source = "A paper"', "", "`source` must be given in [published.Somebody 2001]"),
        ('"recall@10" = 0.5', '"recal@10" = 0.5', "Did you mean 'recall@10'?"),
        ("[data]", 'name = "mine"\n[data]', "`name` must not be given"),
        ("[data]", "[date]", "`date` must be a key of the recipe; got 'date'. Did you mean 'data'?"),
        ("[data]", "[data", "must be TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(recipe: Path, old: str, new: str, said: str) -> None:
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(ConfigError) as stopped:
        load_recipe(recipe)
    assert said in str(stopped.value)
    assert str(recipe) in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("name", ["lectures", "missing.toml", "lecture.toml", "."])
def test_no_recipe_is_told_with_those_there_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"`recipe` must be a TOML file, or one of .*lecture, .*ncf-ml-1m"):
        load_recipe(name)


def test_the_recipes_that_come_along_can_be_run_by_name() -> None:
    assert {"gowalla", "lecture", "lecture-tune", "ml-100k", "ncf-ml-1m"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_entries_of_the_lecture_named_by_their_model_alone_are_its_defaults_written_out() -> None:
    entries = [entry for entry in load_recipe("lecture").models if entry.label == entry.model]
    assert len(entries) > 5
    for entry in entries:
        config = MODELS[entry.model](**entry.settings).config
        assert config == MODELS[entry.model]().config
        assert entry.label == "popularity" or config.model_fields_set


def test_the_lecture_is_judged_on_the_lectures_split() -> None:
    lecture = load_recipe("lecture")
    assert (lecture.data.source, lecture.data.min_rating) == ("ml-latest-small", 4)
    assert (lecture.data.split, lecture.data.split_seed) == ("random:0.8/0.1/0.1", 1)
    assert (lecture.evaluation.protocol, lecture.evaluation.select) == ("full", "ndcg@20")
    wanted = {"popularity", "bpr-mf", "mf", "gmf", "mlp", "neumf", "neumf-pretrained"}
    assert wanted <= set(lecture.by_label)


def test_the_ncf_paper_is_met_by_its_own_protocol() -> None:
    paper = load_recipe("ncf-ml-1m")
    assert (paper.data.split, paper.data.valid) == ("fixed", "latest-item")
    assert paper.plan(paper.models[0]).refits
    assert (paper.evaluation.protocol, paper.evaluation.ks, paper.evaluation.select) == ("sampled", (10,), "ndcg@10")
    assert paper.by_label["neumf-pretrained"].halves == ("gmf", "mlp")
    # He et al. 2017, tables 2 and 3, selected on test; Rendle et al. 2020; Ferrari Dacrema et al. 2019; irspack.
    published = {
        (number.beside, number.selected_on_test): (number.metrics["hit@10"], number.metrics.get("ndcg@10"))
        for number in paper.published.values()
        if number.beside
    }
    assert published == {
        ("popularity", False): (0.4531, 0.2542),
        ("mf", False): (0.7294, 0.4523),
        ("mlp", True): (0.707, None),
        ("neumf", True): (0.705, 0.426),
        ("neumf", False): (0.6725, 0.4011),
        ("neumf-pretrained", True): (0.730, 0.447),
        ("item-knn", False): (0.6596, 0.3900),
        ("ials", False): (0.7310, 0.4521),
    }


def test_every_tuned_model_of_a_recipe_gets_the_same_budget() -> None:
    tuned = [entry for entry in load_recipe("lecture-tune").models if entry.tune is not None]
    assert {entry.model for entry in tuned} >= {"bpr-mf", "mf", "gmf", "mlp", "neumf"}
    assert len({str(entry.tune.budget) for entry in tuned if entry.tune is not None}) == 1
    assert all(entry.label.endswith("-tuned") for entry in tuned)


def test_ml_100k_is_cut_within_each_user_and_trained_on_all_of_it() -> None:
    recipe = load_recipe("ml-100k")
    plan = recipe.plan(recipe.models[0])
    assert (plan.split, plan.refits, plan.ks) == ("random-user:0.75/0/0.25", True, (10,))
    assert recipe.data.min_rating is None
    # The comparison in the README of the Recommenders project.
    published = {label.partition(",")[0]: number.metrics for label, number in recipe.published.items()}
    assert {name: metrics["ndcg@10"] for name, metrics in published.items()} == {
        "BPR": 0.4420, "NCF": 0.3961, "BiVAE": 0.4751, "LightGCN": 0.4198, "SAR": 0.3825
    }  # fmt: skip
    assert published["BPR"] == {"ndcg@10": 0.4420, "precision@10": 0.3882, "recall@10": 0.2125}


def test_gowalla_is_met_on_the_published_split() -> None:
    recipe = load_recipe("gowalla")
    assert (recipe.data.split, recipe.data.valid) == ("fixed", "random:0.1")
    assert recipe.plan(recipe.models[0]).refits
    assert (recipe.evaluation.ks, recipe.evaluation.select) == ((20,), "ndcg@20")
    numbers = {label: (each.metrics["recall@20"], each.metrics["ndcg@20"]) for label, each in recipe.published.items()}
    assert numbers["LightGCN"] == (0.1830, 0.1554)
    assert numbers["BSPM-EM"] == (0.1920, 0.1597)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_of_several_models_says_what_they_are_held_against(name: str) -> None:
    assert load_recipe(name).evaluation.reference is not None
