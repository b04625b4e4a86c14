"""Scripts that complete commands, flags and their values in a shell: ``eval "$(ffedge --show-completion bash)"``."""

import argparse

from ffedge.cli.commands import COMMANDS, parser_of

BASH = """\
_ffedge() {
  local words="%(commands)s" now="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
  if ((COMP_CWORD > 1)); then
    case "${COMP_WORDS[1]} $before" in
%(values)s
      *) words="";;
    esac
    if [[ $now == -* ]]; then
      case "${COMP_WORDS[1]}" in
%(flags)s
      esac
    fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$now"))
}
complete -o bashdefault -o default -F _ffedge ffedge"""
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def script(shell: str) -> str:
    """Return what a shell is to evaluate."""
    flags = {name: parser_of(name).flags() for name in COMMANDS}
    return _fish(flags) if shell == "fish" else ZSH * (shell == "zsh") + _bash(flags)


def _bash(flags: dict[str, list[argparse.Action]]) -> str:
    values = [
        f'      "{name} {action.option_strings[-1]}") words="{" ".join(_choices(action))}";;'
        for name, actions in flags.items()
        for action in actions
        if _choices(action)
    ]
    words = {
        name: " ".join(text for action in actions for text in action.option_strings) for name, actions in flags.items()
    }
    lines = [f'        {name}) words="{text}";;' for name, text in words.items()]
    return BASH % {"commands": " ".join(COMMANDS), "values": "\n".join(values), "flags": "\n".join(lines)}


def _fish(flags: dict[str, list[argparse.Action]]) -> str:
    lines = [f"complete -c ffedge -n __fish_use_subcommand -fa {name}" for name in COMMANDS]
    for name, actions in flags.items():
        for action in actions:
            text = (action.help or "").replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'")
            choices = f" -xa '{' '.join(_choices(action))}'" if _choices(action) else " -r" * (action.nargs is None)
            flag = action.option_strings[-1].removeprefix("--")
            lines.append(f"complete -c ffedge -n '__fish_seen_subcommand_from {name}' -l {flag}{choices} -d '{text}'")
    return "\n".join(lines)


def _choices(action: argparse.Action) -> list[str]:
    """Return the words that a flag's value may be: those of ``auto|N`` that are no letter for a kind of value."""
    words = action.metavar.split("|") if isinstance(action.metavar, str) else []
    return [word for word in words if word == word.lower()]
