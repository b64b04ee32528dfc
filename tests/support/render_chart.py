"""Lints and renders a Helm chart with Helm's own engine, and prints what comes of it as JSON.

    render_chart.py <folder of the chart> <values, JSON>

Prints `errors`, which linting found, and `manifests`, the text of each template; or `refused`, why it cannot be rendered. Exits with 77 if
the package is missing.
"""

import json
import sys

try:
    import helm_python as helm
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

folder, values = sys.argv[1], json.loads(sys.argv[2])
with helm.Chart.load(folder) as chart:
    try:
        manifests = chart.render(values, name="gauge", namespace="monitoring")
    except helm.HelmRenderError as error:
        print(json.dumps({"refused": str(error)}))
    else:
        print(json.dumps({"errors": helm.lint(folder, values)["errors"], "manifests": manifests}))
