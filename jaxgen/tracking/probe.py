"""Whether a server answers at all: `python -m jaxgen.tracking.probe URL SECONDS`.

A silent name server blocks without any limit that could be set. So the question is asked in a
process of its own, which can be killed.
"""

import ssl
import sys
import urllib.error
import urllib.request


def main(url: str, limit_s: float) -> str | None:
    """Send one request to a server.

    Args:
        url: of the server; proxies are taken from the environment.
        limit_s: seconds to wait for each step.

    Returns:
        Why it does not answer; null if it does. A refusal is an answer.
    """
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=limit_s):
            return None
    # Before URLError, of which it is a kind: a server that says 403 has answered.
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        # wandb has certificates of its own.
        if isinstance(error.reason, ssl.SSLError):
            return None
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error)


if __name__ == "__main__":
    problem = main(sys.argv[1], float(sys.argv[2]))
    if problem is not None:
        sys.exit(problem)
