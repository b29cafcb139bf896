# ruff: noqa: A002, N803 - the services' own parameter names
"""The worlds of the types without a service that moves by itself, and of the image's build."""

from __future__ import annotations

import hashlib
import io
import itertools
from types import MappingProxyType
from typing import Any

from botocore.response import StreamingBody
from hypothesis import strategies as st

from custom_resources.container_image import ContainerImage
from custom_resources.emptied import Emptied
from custom_resources.listener_rule import ListenerRule
from custom_resources.managed_prefix_list import ManagedPrefixList
from custom_resources.ownership import tag_list, tag_mapping
from tests.custom_resources.emptied_fakes import Bucket, Repository
from tests.custom_resources.fakes import ApiError
from tests.custom_resources.faults.tagged import A_FEW, CHANGED, THEIRS, some_tags, untrue_tags
from tests.custom_resources.faults.world import Clock, Fault, Faults, World
from tests.custom_resources.load_balancer_fakes import LISTENER, OTHER_LISTENER, LoadBalancer

BUCKETS = ("access-logs", "more-logs")
REPOSITORIES = ("tools", "search")
SIZES = (0, 3, 1001, 10_000)
LISTENERS = (LISTENER, OTHER_LISTENER)
# Two that may be the blue one, and two that may be the green one.
GROUPS = tuple(LISTENER.replace(":listener/app/tools", f":targetgroup/{name}")[:-17] for name in "abcd")
BUILD_SECONDS = 90.0
HANG_SECONDS = 7200.0


class Buckets:
    """S3 and ECR by the name a call gives."""

    def __init__(self, buckets: dict[str, Bucket], repositories: dict[str, Repository]) -> None:
        self._buckets, self._repositories = buckets, repositories

    def list_object_versions(self, Bucket: str, **parameters: Any) -> dict[str, Any]:
        return self._buckets[Bucket].list_object_versions(Bucket, **parameters)

    def delete_objects(self, Bucket: str, **parameters: Any) -> dict[str, Any]:
        return self._buckets[Bucket].delete_objects(Bucket, **parameters)

    def list_images(self, repositoryName: str, **parameters: Any) -> dict[str, Any]:
        return self._repositories[repositoryName].list_images(repositoryName, **parameters)

    def batch_delete_image(self, repositoryName: str, **parameters: Any) -> dict[str, Any]:
        return self._repositories[repositoryName].batch_delete_image(repositoryName, **parameters)


class EmptiedWorld(World):
    """Buckets and repositories; what is in them is "ours" once the resource is to empty them."""

    resource = Emptied
    seconds = 900.0
    properties = st.one_of(
        st.fixed_dictionaries({"BucketName": st.sampled_from(BUCKETS)}),
        st.fixed_dictionaries({"RepositoryName": st.sampled_from(REPOSITORIES)}),
    )
    life = (
        {"BucketName": BUCKETS[1]},
        {"BucketName": BUCKETS[1]},
        {"RepositoryName": REPOSITORIES[0]},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.buckets = {name: Bucket() for name in BUCKETS}
        self.repositories = {name: Repository() for name in REPOSITORIES}
        self._numbers = itertools.count()
        self._service = Buckets(self.buckets, self.repositories)
        for choice in range(3):
            self.disturb(choice)

    def backend(self, service: str, region: str | None) -> Buckets:
        assert service in {"s3", "ecr"}
        assert region is None
        return self._service

    def ours(self) -> list[str]:
        return []

    def others(self) -> dict[str, int]:
        return self.contents()

    def harmed(self, before: dict[str, int], request: dict[str, Any]) -> list[str]:
        """Only a Delete empties anything, and only what it names; so does the way back from a dead Update."""
        emptied = {request.get("PhysicalResourceId") if request["RequestType"] == "Delete" else ""}
        if request["RequestType"] == "Update":
            given, old = request["PhysicalResourceId"], Emptied.identify(request["OldResourceProperties"])
            if given == Emptied.identify(request["ResourceProperties"]) != old:
                emptied = {old}
        after = self.contents()
        return [name for name, size in before.items() if name not in emptied and after[name] != size]

    def contents(self) -> dict[str, int]:
        """How much is in everything, by the physical id that empties it."""
        sizes = {f"emptied|{name}": len(bucket.entries) for name, bucket in self.buckets.items()}
        return sizes | {f"emptied|{name}": len(one.images) for name, one in self.repositories.items()}

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        return [physical_id] if self.contents().get(physical_id) else []

    def disturb(self, choice: int) -> None:
        number = next(self._numbers)
        if choice in {0, 1}:
            bucket = self.buckets[BUCKETS[choice]]
            if not bucket.exists:
                return
            # Ten thousand versions take seconds to list, so they are there from the start in one bucket only.
            size = SIZES[-1] if number == 0 else SIZES[number % 3]
            bucket.entries += [(f"{number}/{key:05}", f"v{key % 3}", key % 7 == 0) for key in range(size)]
        elif choice in {2, 3}:
            repository = self.repositories[REPOSITORIES[choice - 2]]
            parts = {f"sha256:{number:04}{part:060}" for part in range(150)}
            index = f"sha256:{number:04}{'f' * 60}"
            repository.images |= parts | {index}
            repository.indexes[index] = set(sorted(parts)[:2])
        else:
            # What doesn't exist any more counts as empty.
            self.buckets[BUCKETS[1]].exists = False
            self.buckets[BUCKETS[1]].entries.clear()


class PrefixListWorld(World):
    """EC2 with the prefix lists of AWS."""

    resource = ManagedPrefixList
    seconds = 60.0
    properties = st.fixed_dictionaries(
        {
            "PrefixListName": st.sampled_from(
                ["com.amazonaws.global.cloudfront.origin-facing", "com.amazonaws.no"]
            )
        }
    )
    life = ({"PrefixListName": "com.amazonaws.global.cloudfront.origin-facing"},) * 3

    def backend(self, service: str, region: str | None) -> PrefixListWorld:
        assert (service, region) == ("ec2", None)
        return self

    def describe_managed_prefix_lists(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        (name,) = (one["Values"][0] for one in Filters if one["Name"] == "prefix-list-name")
        known = name.endswith("origin-facing")
        return {"PrefixLists": [{"PrefixListId": "pl-3b927c52", "PrefixListName": name}] if known else []}

    def ours(self) -> list[str]:
        return []

    def others(self) -> Any:
        return None

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        known = properties["PrefixListName"].endswith("origin-facing")
        return [] if known and attributes == {"PrefixListId": "pl-3b927c52"} else [str(attributes)]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        return kind != "Delete" and properties["PrefixListName"].endswith(".no")


class RuleWorld(World):
    """A load balancer with two listeners, and ECS, which moves the traffic between blue and green."""

    resource = ListenerRule
    seconds = 120.0
    properties = st.fixed_dictionaries(
        {
            "ListenerArn": st.sampled_from(LISTENERS),
            "Priority": st.sampled_from(["1", "2"]),
            "BlueTargetGroupArn": st.sampled_from(GROUPS[:2]),
            "GreenTargetGroupArn": st.sampled_from(GROUPS[2:]),
            "Tags": some_tags,
        }
    )

    _life = MappingProxyType({"ListenerArn": LISTENERS[0], "GreenTargetGroupArn": GROUPS[2]})
    life = (
        {**_life, "Priority": "1", "BlueTargetGroupArn": GROUPS[0], "Tags": A_FEW},
        {**_life, "Priority": "1", "BlueTargetGroupArn": GROUPS[1], "Tags": CHANGED},
        {**_life, "Priority": "2", "BlueTargetGroupArn": GROUPS[1], "Tags": CHANGED},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self._balancer = LoadBalancer()
        # A place that is taken.
        action = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
        self._balancer.create_rule(LISTENERS[1], 2, [], [action], [])
        self._side = 0
        """Where ECS has left the traffic: 0 is blue, 1 is green."""
        self._given: list[dict[str, Any]] = []

    def backend(self, service: str, region: str | None) -> LoadBalancer:
        assert (service, region) == ("elbv2", None)
        return self._balancer

    def _rules(self, ours: bool) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (listener, rule["Priority"]): rule
            for listener, rules in self._balancer.listeners.items()
            for rule in rules
            if bool(self._balancer.tags.get(rule["RuleArn"])) == ours
        }

    def ours(self) -> list[str]:
        return [f"listener-rule|{listener}|{priority}" for listener, priority in self._rules(True)]

    def others(self) -> Any:
        return [repr(rule) for rule in self._rules(False).values()]

    def harmed(self, before: Any, request: dict[str, Any]) -> list[str]:
        """No request moves the traffic, whatever becomes of it: what ECS has chosen stays chosen."""
        moved = [
            f"{place} leads to {self._taken(rule)} and not to {self._side}"
            for place, rule in self._rules(True).items()
            if self._taken(rule) != self._side
        ]
        if not self._rules(True):
            self._side = 0
        return super().harmed(before, request) + moved

    @staticmethod
    def _taken(rule: dict[str, Any]) -> int:
        """Which of a rule's two groups gets everything."""
        ((_, taken),) = [
            (group["TargetGroupArn"], int(group["TargetGroupArn"] in GROUPS[2:]))
            for group in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
            if group["Weight"]
        ]
        return taken

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        rule = self._rules(True).get((properties["ListenerArn"], properties["Priority"]))
        if rule is None or attributes != {"RuleArn": rule["RuleArn"]}:
            return [f"{attributes} isn't {rule}"]
        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
        named = {group["TargetGroupArn"] for group in groups}
        wanted = {properties["BlueTargetGroupArn"], properties["GreenTargetGroupArn"]}
        tags = tag_mapping(self._balancer.tags[rule["RuleArn"]])
        untruths = untrue_tags([(rule, tags)], properties, self._given)
        return untruths + ([] if named <= wanted else [f"{named} aren't {wanted}"])

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        return [physical_id] if physical_id in self.ours() else []

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        taken = (properties["ListenerArn"], properties["Priority"]) in self._rules(False)
        return kind != "Delete" and taken

    def disturb(self, choice: int) -> None:
        """ECS moves the traffic, or somebody gives the rules a tag."""
        if not self._rules(True):
            return
        if choice == 5:
            for rule in self._rules(True).values():
                self._balancer.add_tags([rule["RuleArn"]], tag_list(THEIRS))
                self._given.append(rule)
            return
        self._side = choice % 2
        for rule in self._rules(True).values():
            groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
            sides = [int(group["TargetGroupArn"] in GROUPS[2:]) for group in groups]
            if self._side not in sides:
                continue
            for group, side in zip(groups, sides, strict=True):
                group["Weight"] = 100 if side == self._side else 0


class ImageWorld(World):
    """A source in S3, a build project, and the repository it pushes to; images outlive the resource."""

    resource = ContainerImage
    seconds = 900.0
    properties = st.fixed_dictionaries(
        {
            "BuildProject": st.just("tools-build"),
            "RepositoryName": st.sampled_from(REPOSITORIES),
            "SourceBucket": st.just("artifacts"),
            "SourceKey": st.sampled_from(["one/source.zip", "two/source.zip"]),
            "Architecture": st.sampled_from(["ARM64", "X86_64"]),
        }
    )
    _life = MappingProxyType(
        {"BuildProject": "tools-build", "SourceBucket": "artifacts", "SourceKey": "one/source.zip"}
    )
    life = (
        {**_life, "RepositoryName": REPOSITORIES[0], "Architecture": "ARM64"},
        {**_life, "RepositoryName": REPOSITORIES[0], "Architecture": "X86_64"},
        {**_life, "RepositoryName": REPOSITORIES[1], "Architecture": "ARM64"},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.images: dict[tuple[str, str], str] = {}
        self.builds: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, str] = {}
        self._repository = REPOSITORIES[0]
        self.build_seconds = BUILD_SECONDS

    def backend(self, service: str, region: str | None) -> ImageWorld:
        assert service in {"s3", "ecr", "codebuild", "logs"}
        assert region is None
        return self

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        content = f"{Bucket}/{Key}".encode() * 100
        return {"Body": StreamingBody(io.BytesIO(content), len(content))}

    def describe_repositories(self, repositoryNames: list[str]) -> dict[str, Any]:
        # The project pushes to the repository of its stack, which is the one that is asked for.
        (self._repository,) = repositoryNames
        return {
            "repositories": [{"repositoryName": self._repository, "repositoryUri": f"r/{self._repository}"}]
        }

    def describe_images(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        tag = imageIds[0]["imageTag"]
        if (repositoryName, tag) not in self.images:
            raise ApiError("ImageNotFoundException", "no such tag")
        return {"imageDetails": [{"imageDigest": self.images[repositoryName, tag], "imageTags": [tag]}]}

    def start_build(
        self, environmentVariablesOverride: list[dict[str, str]], idempotencyToken: str, **_: Any
    ) -> dict[str, Any]:
        tag, repository = environmentVariablesOverride[0]["value"], self._repository
        if idempotencyToken in self._tokens:
            return {"build": self.builds[self._tokens[idempotencyToken]]}
        build_id = f"tools-build:{len(self.builds)}"
        self._tokens[idempotencyToken] = build_id
        build = {"id": build_id, "buildStatus": "IN_PROGRESS", "currentPhase": "BUILD"}
        self.builds[build_id] = build
        fails = self.faults.work is Fault.WORK_FAILS

        def finish() -> None:
            if build["buildStatus"] != "IN_PROGRESS":
                return
            # Tags are immutable: a second push of one fails.
            if fails or (repository, tag) in self.images:
                build["buildStatus"] = "FAILED"
                return
            digest = hashlib.sha256(f"{build_id}{tag}".encode()).hexdigest()
            self.images[repository, tag] = f"sha256:{digest}"
            build["buildStatus"] = "SUCCEEDED"

        self.clock.later(HANG_SECONDS if self.faults.work is Fault.WORK_HANGS else self.build_seconds, finish)
        return {"build": dict(build)}

    def batch_get_builds(self, ids: list[str]) -> dict[str, Any]:
        return {"builds": [dict(self.builds[build_id]) for build_id in ids]}

    def stop_build(self, id: str) -> dict[str, Any]:
        self.builds[id]["buildStatus"] = "STOPPED"
        return {"build": dict(self.builds[id])}

    def get_log_events(self, **_: Any) -> dict[str, Any]:
        return {"events": [{"timestamp": 1, "message": "ERROR: No matching distribution\n"}]}

    def ours(self) -> list[str]:
        return []

    def others(self) -> dict[tuple[str, str], str]:
        return dict(self.images)

    def harmed(self, before: dict[tuple[str, str], str], request: dict[str, Any]) -> list[str]:
        """Images are never taken away, nor moved to another digest."""
        return [tag for (_, tag), digest in before.items() if digest not in self.images.values()]

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        content = f"{properties['SourceBucket']}/{properties['SourceKey']}".encode() * 100
        tag = f"{hashlib.sha256(content).hexdigest()[:16]}-{properties['Architecture'].lower()}"
        digest = self.images.get((properties["RepositoryName"], tag))
        uri = f"r/{properties['RepositoryName']}@{digest}"
        expected = {"ImageUri": uri, "ImageDigest": digest, "ImageTag": tag}
        return [] if attributes == expected else [f"{attributes} for {expected}"]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        # A redelivered request gets the build of its first delivery, which may have failed or been stopped.
        return any(build["buildStatus"] != "SUCCEEDED" for build in self.builds.values())
