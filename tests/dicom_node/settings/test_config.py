from pathlib import Path

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.settings.config import parse_settings, read_settings
from inference.quality.policy import QualityPolicy
from inference.volumes import FunctionBasis

CONFIGS = Path(__file__).parents[3] / "configs" / "node"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_site_file_loads(path: Path) -> None:
    assert read_settings(path).source == str(path)


def test_the_example_shows_every_default_as_it_is() -> None:
    example = read_settings(CONFIGS / "site.example.toml")
    built_in = parse_settings({}, source=example.source, base=CONFIGS)
    fields = (
        *("receiver", "completeness", "rules", "minimum_free_mb", "engine", "content_qualification"),
        *("limits", "accept_lossy", "subtraction", "retry", "retention"),
        *("log_level", "log_format", "data_dir", "status", "watchdog", "alerts"),
    )
    for field in fields:
        assert getattr(example, field) == getattr(built_in, field), field


def test_all_mistakes_are_reported_at_once() -> None:
    document = {
        "node": {"port": 0, "ae_title": "MUCH-TOO-LONG-A-TITLE", "colour": "red"},
        "inference": {"lobes": "magic"},
        "destinations": [{"name": "pacs", "ae_title": "P", "host": "h"}],
    }
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(document)
    text = str(caught.value)
    for key in ("node.port", "node.ae_title", "node.colour", "inference.lobes", "destinations.0.port"):
        assert key in text
    assert len(caught.value.problems) == 5


def test_contradictions_between_keys_are_mistakes_too() -> None:
    pacs = {"name": "pacs", "ae_title": "P", "host": "h", "port": 104}
    document = {
        "inference": {"perfusion": "network", "function_rule": "no-such-rule"},
        "destinations": [pacs, pacs],
    }
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(document)
    assert len(caught.value.problems) == 3


PACS = {"name": "pacs", "ae_title": "P", "host": "h", "port": 104}


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ({"objects": ["report", "segmentation"]}, "report refers to parametric-map"),
        ({"objects": ["refusal-notice"]}, "set refusal_notice instead"),
        ({"profile": "no-such-system"}, "unknown profile"),
        ({"objects": ["movie"]}, "destinations.0.objects"),
    ],
)
def test_an_order_that_cannot_be_filled_is_a_mistake(destination: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_settings({"destinations": [{**PACS, **destination}]})


def test_each_destination_orders_its_own_objects_in_its_own_profile() -> None:
    tps = {**PACS, "name": "tps", "objects": ["structure-set", "mr-twin"], "profile": "raystation"}
    settings = parse_settings({"destinations": [PACS, {**tps, "refusal_notice": False}]})
    assert [str(role) for role in settings.orders["tps"].roles()] == [
        "structure-set.raystation-anatomy",
        "structure-set.raystation-function",
        "mr-twin",
    ]
    assert [str(role) for role in settings.orders["pacs"].roles()] == ["parametric-map", "structure-set"]
    assert (settings.orders["pacs"].refusal_notice, settings.orders["tps"].refusal_notice) == (True, False)
    assert len(settings.roles()) == 5


def test_two_profiles_of_one_name_must_be_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "generic"\nlabel = "OURS"\n')
    other = {**PACS, "name": "tps", "profile": "mine.toml"}
    with pytest.raises(ConfigurationError, match="both named generic"):
        parse_settings({"destinations": [PACS, other]}, base=tmp_path)


def test_the_baseline_cannot_be_called_a_product() -> None:
    with pytest.raises(ConfigurationError, match="no product"):
        parse_settings({"objects": {"content_qualification": "PRODUCT"}})
    assert parse_settings({"objects": {"content_qualification": "SERVICE"}}).content_qualification == "SERVICE"


def test_destinations_do_not_change_the_digest_of_results() -> None:
    assert parse_settings({"destinations": [PACS]}).settings_digest() == parse_settings({}).settings_digest()


def test_a_rule_of_the_site_is_taken_and_changes_the_digest_of_results() -> None:
    rule = {"name": "top-third", "basis": "percentile", "high_from": 67, "low_below": 33}
    settings = parse_settings({"inference": {"function_rule": rule}})
    assert settings.engine.function_rule.basis is FunctionBasis.PERCENTILE
    assert settings.settings_digest() != parse_settings({}).settings_digest()


def test_relative_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[node]\ndata_dir = "here"\n')
    assert read_settings(site).data_dir == tmp_path / "here"


def test_a_file_that_is_not_toml_says_so(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[node\n")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        read_settings(site)


def test_how_exact_lungmask_is_can_be_said() -> None:
    lungmask = {"lobes": "lungmask"}
    exact = parse_settings({"inference": lungmask})
    fast = parse_settings({"inference": {**lungmask, "lungmask_precision": "fast"}})
    assert (exact.engine.lungmask_precision, fast.engine.lungmask_precision) == ("exact", "fast")
    assert exact.settings_digest() != fast.settings_digest()
    with pytest.raises(ConfigurationError, match="lungmask_precision"):
        parse_settings({"inference": {"lungmask_precision": "double"}})


def test_structures_to_subtract_and_lossy_input_are_taken_from_the_file() -> None:
    plain = parse_settings({})
    assert not plain.accept_lossy
    assert not plain.receiver.accept_lossy
    assert not plain.subtraction.is_set
    wish = {"subtract_structures": ["GTV.*"], "subtract_margin_mm": 5}
    settings = parse_settings({"inference": wish, "input": {"lossy": "flag"}, "work": {"read_memory_mb": 1024}})
    assert settings.accept_lossy
    assert settings.receiver.accept_lossy
    assert settings.limits.read_memory_mb == 1024
    assert settings.subtraction.means("gtv_p")
    assert settings.settings_digest() != plain.settings_digest()
    assert parse_settings({"input": {"lossy": "flag"}}).settings_digest() == plain.settings_digest()


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"subtract_structures": ["GTV("]}, "'GTV(' is no regular expression"),
        ({"subtract_structures": [""]}, "it is empty"),
        ({"subtract_margin_mm": 5}, "there is nothing to subtract"),
        ({"subtract_structures": ["GTV"], "subtract_margin_mm": -1}, "greater than or equal to 0"),
    ],
)
def test_a_mistaken_wish_to_subtract_is_named(wish: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_settings({"inference": wish})
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"database": {"url": "postgresql://perfnode:secret@db/perfnode"}}, "password"),
        ({"database": {"url": "mysql://db/perfnode"}}, "database.url"),
        ({"database": {"password_file": "here"}}, "SQLite has no password"),
        ({"node": {"shared_dir": "/srv/perfnode"}}, "several hosts need a server"),
    ],
)
def test_a_database_that_cannot_be_meant_is_a_mistake(tables: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_settings(tables)


def test_the_password_of_the_database_stands_in_a_file_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a b/c\nnot this\n")
    database = {"url": "postgresql://perfnode@db:5433/perfnode", "password_file": "secret"}
    settings = parse_settings({"database": database, "node": {"shared_dir": "/srv"}}, base=tmp_path)
    assert settings.database.url.partition("?")[0] == "postgresql://perfnode:a%20b%2Fc@db:5433/perfnode"
    assert settings.database.is_server
    assert "a%20b" not in repr(settings)
    assert settings.cases().root == Path("/srv/cases")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"watchdog": {"working_hours": "18:00-07:00"}}, "are no hours of a day"),
        ({"watchdog": {"working_days": ["monday"]}}, "is no day of the week"),
        ({"watchdog": {"every_s": 0}}, "watchdog.every_s"),
        ({"status": {"port": 0}}, "status.port"),
        ({"alerts": [{"name": "a", "url_file": "absent", "events": ["lost"]}]}, "alerts.0.events.0"),
    ],
)
def test_a_watch_that_cannot_be_meant_is_a_mistake(tables: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_settings(tables)


def test_the_node_may_call_itself_from_loopback_and_from_where_it_listens() -> None:
    access = parse_settings({"node": {"host": "10.1.2.3"}}).receiver.policy
    assert access.is_own_call("10.1.2.3", "PERFNODE")
    assert access.is_own_call("127.0.0.1", "PERFNODE")
    assert not access.is_own_call("10.1.2.4", "PERFNODE")


def test_a_silent_database_is_given_up_in_seconds_unless_its_url_says_otherwise() -> None:
    def url_of(query: str) -> str:
        database = {"url": f"postgresql://perfnode@db/perfnode{query}"}
        return parse_settings({"database": database, "node": {"shared_dir": "/srv"}}).database.url

    assert "tcp_user_timeout=6000" in url_of("")
    assert "sslmode=verify-full" in url_of("?sslmode=verify-full")
    assert "connect_timeout=30" in url_of("?connect_timeout=30")
    assert "connect_timeout=5" not in url_of("?connect_timeout=30")


def test_a_gpu_has_one_worker(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"work\.gpus: 0 occurs twice"):
        parse_settings({"work": {"gpus": ["0", "1", "0"]}})
    assert parse_settings({"work": {"gpus": ["0", "1"]}}).work.gpus == ("0", "1")


def test_each_stage_may_have_a_limit_of_its_own() -> None:
    limits = parse_settings({"work": {"stage_timeout_s": 100, "timeouts_s": {"segment": 900}}}).limits
    assert (limits.timeout_of("segment"), limits.timeout_of("perfuse")) == (900.0, 100.0)
    assert (limits.memory_mb, limits.read_memory_mb, limits.attempts) == (16384, 8192, 3)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ({"timeouts_s": {"infer": 900}}, r"work\.timeouts_s\.infer"),
        ({"timeouts_s": {"segment": 0}}, r"work\.timeouts_s\.segment: Input should be greater than 0"),
        ({"stage_memory_mb": 100}, r"work\.stage_memory_mb: Input should be greater than or equal to 512"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_a_mistake(work: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_settings({"work": work})


def test_a_site_judges_findings_its_own_way_and_its_results_have_uids_of_their_own() -> None:
    plain = parse_settings({})
    quality = {"severities": {"RML_SHARE": "note"}, "limits": {"LUNG_VOLUME": {"usual": [1200, 9000]}}}
    own = parse_settings({"quality": quality})
    assert plain.engine.quality == QualityPolicy()
    assert own.engine.quality.changes() == {
        "severities": {"RML_SHARE": "note"},
        "ranges": {"LUNG_VOLUME": {"usual": (1200.0, 9000.0), "possible": None}},
    }
    less = parse_settings({"quality": {"severities": {"RML_SHARE": "note"}}})
    assert len({settings.settings_digest() for settings in (plain, own, less)}) == 3


def test_every_mistake_about_findings_is_said() -> None:
    quality = {
        "severities": {"RML_SHAER": "note", "MAP_NOT_FINITE": "flag"},
        "limits": {"LUNG_VOLUME": {"usual": [100, 9000]}, "LUNG_SIDES": {"usual": [-1000, 1000]}},
    }
    with pytest.raises(ConfigurationError) as caught:
        parse_settings({"quality": quality})
    text = str(caught.value)
    for words in (
        "quality.severities.RML_SHAER: there is no check of this code; docs/quality.md lists all",
        "quality.severities.MAP_NOT_FINITE: fixed",
        "quality.limits.LUNG_SIDES: fixed",
        "quality.limits.LUNG_VOLUME: usual",
    ):
        assert words in text
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigurationError, match=r"quality\.severities\.METAL"):
        parse_settings({"quality": {"severities": {"METAL": "ignore"}}})
    with pytest.raises(ConfigurationError, match=r"quality\.limits\.METAL\.usual"):
        parse_settings({"quality": {"limits": {"METAL": {"usual": [1]}}}})
