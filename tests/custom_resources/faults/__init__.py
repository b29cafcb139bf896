"""The custom resources under faults: any order of requests, against services that fail in every way.

`machine.ResourceMachine` plays CloudFormation, Lambda and bad luck; `world.World` is what a resource type
needs of its surroundings. A type joins with a small adapter:

1. Subclass `World`: name the resource class; give `properties` (a strategy of its ResourceProperties); make
   the services it calls in memory, each a `Backend` whose methods are operations in snake case, and return
   them from `backend(service, region)`.
2. Say what is there: `ours()` what this stack's resource has made, `others()` a snapshot of everything
   else, `untruths(properties, attributes)` what a SUCCESS claims and isn't so, `refuses(properties)`
   whether the request can't succeed even without faults.
3. Put the class into `WORLDS` of `test_faults.py`.

Faults come by themselves: every call goes through `Faults.meet`. A service that changes by itself, as a
build or a target does, takes its steps on the world's clock: `clock.later(seconds, step)`.
"""
