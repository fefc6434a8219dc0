//! What is added to the scripts that are made of the definitions: names that the conductor knows go first.
//! Where it has none for the word, or does not answer in time, all is as without.

use clap_complete::Shell;

/// `PROGRAM` stands for the program's name in these texts, and `ASK` for the command that is asked.
const BASH: &str = r#"
_PROGRAM_names() {
    local line=${COMP_LINE:0:COMP_POINT} current name
    local -a words=() names=()
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    while IFS= read -r name; do
        names+=("$name")
    done < <(ASK -- "${words[@]}" 2> /dev/null)
    if (( ${#names[@]} == 0 )); then
        _PROGRAM "$@"
        return
    fi
    # Of the word, bash replaces what comes after the last of its separators.
    current=${words[${#words[@]}-1]#[\'\"]}
    COMPREPLY=("${names[@]#"${current%"${current##*[@=:]}"}"}")
}

complete -F _PROGRAM_names -o bashdefault -o default PROGRAM
"#;

const ZSH: &str = r#"
functions[_PROGRAM_static]=$functions[_PROGRAM]
_PROGRAM() {
    local -a names
    names=("${(@f)$(ASK -- "${(@)words[1,CURRENT]}" 2> /dev/null)}")
    if [[ -n $names[1] ]]; then
        compadd -Q -S '' -- $names
    else
        _PROGRAM_static "$@"
    fi
}
"#;

const FISH: &str = r#"
function __PROGRAM_names
    set -l within 100ms
    set -q ORCHESTRA_COMPLETION_WITHIN; and set within $ORCHESTRA_COMPLETION_WITHIN
    set -l current (commandline -ct)
    orc candidates --within $within -- (commandline -opc) "$current" 2> /dev/null
end
complete -c PROGRAM -a '(__PROGRAM_names)'
"#;

/// The command that bash and zsh ask.
const ASK: &str = "orc candidates --within \"${ORCHESTRA_COMPLETION_WITHIN:-100ms}\"";

/// Returns a script of a program that also asks for names. Scripts of other shells stay as they are.
pub(super) fn with_names(shell: Shell, program: &str, script: &str) -> String {
    let filled = |text: &str| text.replace("PROGRAM", program).replace("ASK", ASK);
    match shell {
        Shell::Bash => format!("{script}{}", filled(BASH)),
        Shell::Fish => {
            // A value of a flag is completed by what stands beside the flag alone.
            let names = format!(" -r -a '(__{program}_names)'\n");
            format!("{}{}", script.replace(" -r\n", &names), filled(FISH))
        }
        Shell::Zsh => {
            // The function is wrapped before the last lines of the script, which call it.
            let last = format!("\nif [ \"$funcstack[1]\" = \"_{program}\" ]");
            let (definition, call) = script.split_at(script.find(&last).unwrap_or(script.len()));
            format!("{definition}{}{call}", filled(ZSH))
        }
        _ => script.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual::programs;

    #[test]
    fn zsh_wraps_each_function_before_it_is_called() {
        for mut program in programs() {
            let name = program.get_name().to_owned();
            let mut script = Vec::new();
            clap_complete::generate(Shell::Zsh, &mut program, &name, &mut script);
            let script = with_names(Shell::Zsh, &name, &String::from_utf8(script).unwrap());
            let wrapped = script.find("_static]=").unwrap();
            let called = script.find("if [ \"$funcstack[1]\"").unwrap();
            assert!(script.find("() {").unwrap() < wrapped && wrapped < called, "{name}");
        }
    }
}
