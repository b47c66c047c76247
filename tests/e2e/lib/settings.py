"""Python values as configuration text: dict {}, list of dicts (), list of scalars [], str, bool, int."""


def render(value, depth=0):
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, dict):
        lines = [f"{inner}{key} = {render(item, depth + 1)};\n" for key, item in value.items()]
        return "{\n" + "".join(lines) + outer + "}"
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, dict) for item in value):
            return "(\n" + ",\n".join(inner + render(item, depth + 1) for item in value) + "\n" + outer + ")"
        return "[ " + ", ".join(render(item) for item in value) + " ]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def render_all(settings):
    return "".join(f"{key} = {render(value)};\n" for key, value in settings.items())
