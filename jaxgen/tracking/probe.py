"""Whether a server answers at all: `python -m jaxgen.tracking.probe URL SECONDS`, a process that can be killed.

A name server that is silent blocks without any limit that could be set, so this is nothing to do in the run's process.
"""

import ssl
import sys
import urllib.error
import urllib.request


def main(url: str, limit_s: float) -> str | None:
    """Ask for anything.

    Args:
        url: of the server; proxies are taken from the environment.
        limit_s: seconds to wait for each step.

    Returns:
        Why it does not answer; null if it does, be it with a refusal.
    """
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=limit_s):
            return None
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        # wandb has certificates of its own.
        return None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
    except (OSError, ValueError) as error:
        return str(error)


if __name__ == "__main__":
    problem = main(sys.argv[1], float(sys.argv[2]))
    if problem is not None:
        sys.exit(problem)
