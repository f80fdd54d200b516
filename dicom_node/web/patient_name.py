"""Names of patients as people read them, which is not how DICOM writes them (PS3.5 6.2.1)."""


def shown_name(name: str) -> str:
    """A name for people: `Yamada, Tarou (山田 太郎)` for `Yamada^Tarou=山田^太郎=やまだ^たろう`."""
    alphabetic, *others = (group.strip(" ^") for group in [*name.split("="), ""])
    family, *given = alphabetic.split("^")
    main = ", ".join(part for part in (family, " ".join(p for p in given if p)) if part)
    written = next((" ".join(p for p in group.split("^") if p) for group in others if group), "")
    if not main:
        return written
    return f"{main} ({written})" if written else main
