"""Refuse answers that could not become a repository, a Python package, or names AWS accepts.

cookiecutter renders this file before it runs it. The answers therefore arrive as JSON inside a raw string:
JSON pairs every backslash and escapes every quote, so no answer can end the string and become code.
"""

import json
import keyword
import re
import sys
import unicodedata

ANSWERS: dict[str, str] = {
    "project_name": json.loads(r""" {{ cookiecutter.project_name | string | tojson }} """),
    "project_slug": json.loads(r""" {{ cookiecutter.project_slug | string | tojson }} """),
    "package_name": json.loads(r""" {{ cookiecutter.package_name | string | tojson }} """),
    "description": json.loads(r""" {{ cookiecutter.description | string | tojson }} """),
    "author_name": json.loads(r""" {{ cookiecutter.author_name | string | tojson }} """),
    "aws_region": json.loads(r""" {{ cookiecutter.aws_region | string | tojson }} """),
}

# The slug is the beginning of three names. The tightest one decides.
DNS_LABEL_LIMIT = 63  # RFC 1035, section 2.3.4
GATEWAY_NAME_LIMIT = 48  # AgentCore CreateGateway: ([0-9a-zA-Z][-]?){1,48}
GATEWAY_NAME_ENDING = len("-") + 8  # the stack template appends 8 hexadecimal digits of the stack's id
TOOL_NAME_LIMIT = 64  # what most model providers accept as a tool's name
LONGEST_TOOL_NAME = len("___") + len("search_knowledge_base")  # a gateway offers tools as target___tool
SLUG_LIMIT = min(
    DNS_LABEL_LIMIT, GATEWAY_NAME_LIMIT - GATEWAY_NAME_ENDING, TOOL_NAME_LIMIT - LONGEST_TOOL_NAME
)

SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
COMPASS = r"(?:north|south|east|west|central|northeast|northwest|southeast|southwest)"
REGION = re.compile(
    rf"(?:(?:af|ap|ca|cn|eu|il|me|mx|sa|us)|us-gov|us-iso[bf]?|eu-isoe|eusc-de)-{COMPASS}-[1-9][0-9]?"
)

# Directories and modules of the generated repository that a package of the same name would hide.
PROJECT_MODULES = {"build", "conftest", "custom_resources", "infrastructure", "ops", "src", "test", "tests"}
# Import and distribution names the server depends on, `-` written as `_`; a test compares them with the lock.
DEPENDENCIES = {
    *("aiofile", "annotated_types", "anyio", "attr", "attrs", "authlib", "backports", "backports_tarfile"),
    *("beartype", "boto3", "botocore", "cachetools", "caio", "cffi", "click", "cryptography", "cyclopts"),
    *("dateutil", "dns", "dnspython", "docstring_parser", "dotenv", "email_validator", "exceptiongroup"),
    *(
        "fastmcp",
        "fastmcp_slim",
        "flit_core",
        "griffe",
        "griffelib",
        "h11",
        "httpcore2",
        "httptools",
        "httpx2",
    ),
    *("httpx2_jsfetch", "idna", "importlib_metadata", "jaraco", "jaraco_classes", "jaraco_context"),
    *("jaraco_functools", "jeepney", "jmespath", "joserfc", "jsonref", "jsonschema", "jsonschema_path"),
    *("jsonschema_specifications", "jwt", "key_value", "keyring", "lazy_importer", "markdown_it"),
    *("markdown_it_py", "mcp", "mcp_types", "mdurl", "more_itertools", "multipart", "openapi_pydantic"),
    *("opentelemetry", "opentelemetry_api", "opentelemetry_sdk", "opentelemetry_semantic_conventions"),
    *("packaging", "pathable", "pip", "platformdirs", "proxytypes"),
    *("py_key_value_aio", "pycparser", "pydantic", "pydantic_core", "pydantic_settings", "pygments"),
    *("pyjwt", "pyperclip", "python_dateutil", "python_dotenv", "python_multipart", "pywin32"),
    *("pywin32_ctypes", "pyyaml", "referencing", "rich", "rich_rst", "rpds", "rpds_py", "s3transfer"),
    *("secretstorage", "setuptools", "six", "sse_starlette", "starlette", "structlog", "truststore"),
    *("typing_extensions", "typing_inspection", "uncalled_for", "urllib3", "uvicorn", "uvloop"),
    *("watchfiles", "websockets", "wheel", "yaml", "zipp"),
}


def refusal(name: str, why: str, advice: str) -> str:
    """Say which answer is refused, what it was, why, and what to do."""
    return f"{name} = {ANSWERS[name]!r} is refused: {why}. {advice}."


def unprintable(value: str) -> list[str]:
    """Return the names of the characters that would break a line of a generated file, such as U+000A."""
    return sorted({f"U+{ord(c):04X}" for c in value if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}})


def text_problem(name: str) -> str | None:
    """Check an answer in words."""
    value = ANSWERS[name]
    if not value.strip():
        return refusal(name, "it is empty", "Answer with at least one visible character")
    if found := unprintable(value):
        return refusal(
            name, f"it holds control characters ({', '.join(found)})", "Write it on one plain line"
        )
    return None


def slug_problem() -> str | None:
    """Check what becomes a directory, a distribution, a DNS label, stack names and a gateway target."""
    slug = ANSWERS["project_slug"]
    if not SLUG.fullmatch(slug):
        return refusal(
            "project_slug",
            "stacks, a gateway and DNS labels are named after it, which begin with a letter and hold "
            "lower-case letters, digits and single hyphens only",
            "Use a name such as knowledge-mcp-server",
        )
    if len(slug) > SLUG_LIMIT:
        return refusal(
            "project_slug",
            f"it has {len(slug)} characters and {SLUG_LIMIT} are left for it "
            f"(a gateway's name has {GATEWAY_NAME_LIMIT}, of which {GATEWAY_NAME_ENDING} are taken)",
            f"Shorten it to {SLUG_LIMIT} characters",
        )
    if slug.replace("-", "_") in DEPENDENCIES:
        return refusal(
            "project_slug",
            "a package the server depends on has the same name, and pip can't install both",
            f"Use a name such as {slug}-server",
        )
    return None


def package_problem() -> str | None:
    """Check what becomes a Python package."""
    package = ANSWERS["package_name"]
    if not PACKAGE.fullmatch(package):
        return refusal(
            "package_name",
            "a package's name begins with a letter and holds lower-case letters, digits and underscores only",
            "Use a name such as knowledge_mcp_server",
        )
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        return refusal("package_name", "it is a keyword of Python", f"Use a name such as {package}_server")
    for names, owner in (
        (sys.stdlib_module_names, "Python's standard library has a module of that name"),
        (DEPENDENCIES, "a package the server depends on has the same name"),
        (PROJECT_MODULES, "the generated repository has a directory or module of that name"),
    ):
        if package in names:
            return refusal(
                "package_name",
                f"{owner} and one would hide the other",
                f"Use a name such as {package}_server",
            )
    return None


def region_problem() -> str | None:
    """Check the form only: new regions of a known kind pass."""
    if REGION.fullmatch(ANSWERS["aws_region"]):
        return None
    return refusal("aws_region", "it is not the name of an AWS region", "Use a name such as eu-west-1")


def problems() -> list[str]:
    """Return a sentence for every answer that can't be used."""
    found = [text_problem(name) for name in ("project_name", "description", "author_name")]
    found += [slug_problem(), package_problem(), region_problem()]
    return [problem for problem in found if problem]


if __name__ == "__main__":
    if refused := problems():
        sys.exit("\n".join(f"ERROR: {problem}" for problem in refused))
